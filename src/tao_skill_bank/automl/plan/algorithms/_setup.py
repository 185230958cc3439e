"""What every algorithm is built from: the space, the budget, and how many trials run at once."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tao_skill_bank.automl.plan.history import Coordinate


class Dimension(Protocol):
    """One searched parameter in the coordinates that samplers see."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str:
        """`float` and `share` are real numbers, `int`, `power` and `ratio` integers, `choice` one of `choices`."""
        ...

    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def log(self) -> bool: ...
    @property
    def choices(self) -> Sequence[Coordinate]: ...
    @property
    def weights(self) -> Sequence[float] | None: ...


class Space(Protocol):
    """The searched parameters, in a stable order."""

    @property
    def dimensions(self) -> Sequence[Dimension]: ...


@dataclass(frozen=True)
class Setup:
    """What an algorithm may use.

    Attributes:
        space: where it searches.
        seed: the same seed and the same trials give the same decision.
        max_trials: trials that may be started, trial 0 and failed ones included.
        max_epochs, min_epochs, eta: the rungs, see `rungs`.
        parallel: trials that may run at once.
        objectives: ("metric",), or ("metric", "cost") where cost is the GPU hours of a trial.
        options: what a single algorithm understands, by its own names.

    """

    space: Space
    seed: int = 0
    max_trials: int = 20
    max_epochs: int = 1
    min_epochs: int = 1
    eta: int = 3
    parallel: int = 1
    objectives: tuple[str, ...] = ("metric",)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rungs(self) -> tuple[int, ...]:
        """The epochs at which trials pause: min_epochs * eta**k, and max_epochs at last.

        A rung that is nearer to the end than half a step (in powers of eta) is left out: pausing there saves nothing.
        """
        rungs = []
        epoch = self.min_epochs
        while epoch * math.sqrt(self.eta) <= self.max_epochs:
            rungs.append(epoch)
            epoch *= self.eta
        return (*rungs, self.max_epochs) if not rungs or rungs[-1] < self.max_epochs else tuple(rungs)

    def random(self, *scope: int | str) -> random.Random:
        """Return a generator that depends on the seed and on its scope, and on nothing else."""
        return random.Random(":".join(str(part) for part in (self.seed, *scope)))
