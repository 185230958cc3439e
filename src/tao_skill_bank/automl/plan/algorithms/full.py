"""Searches whose trials all train to their end."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tao_skill_bank.automl.plan.algorithms import points
from tao_skill_bank.automl.plan.algorithms._setup import Dimension, Setup
from tao_skill_bank.automl.plan.algorithms.samplers import Sampler, untried_proposal
from tao_skill_bank.automl.plan.history import Coordinate, Decision, Done, Start, Trial, TrialState, Wait
from tao_skill_bank.errors import RequestError

SPENT = "as many as max_trials allows"
EXHAUSTED = "every point of the space has been tried"


def is_full(setup: Setup, trials: Sequence[Trial]) -> bool:
    """Return whether as many trials run as may."""
    return sum(trial.state is TrialState.RUNNING for trial in trials) >= setup.parallel


@dataclass(frozen=True)
class FullTrainings:
    """One trial after the other at the points of a sampler."""

    setup: Setup
    sampler: Sampler

    def decide(self, trials: Sequence[Trial]) -> Decision:
        if len(trials) >= self.setup.max_trials:
            return Done(SPENT)
        if is_full(self.setup, trials):
            return Wait()
        proposal = untried_proposal(self.sampler, self.setup, trials)
        if proposal is None:
            return Done(EXHAUSTED)
        return Start(proposal.point, proposal.origin, sampler=proposal.keeps)


@dataclass(frozen=True)
class Grid:
    """The points of a grid that fits into max_trials, in an order that covers the space wherever it stops.

    Every choice is on it; integers and ranges get as many levels as fit, 2 at least. `options["levels"]` fixes them.
    """

    setup: Setup

    def __post_init__(self) -> None:
        points_needed = math.prod(self._sizes())
        if points_needed > self.setup.max_trials:
            raise RequestError.of(
                "grid_too_large",
                f"A grid over {len(self.setup.space.dimensions)} parameters has {points_needed} points at least, more "
                f"than the {self.setup.max_trials} trials.",
                f"Search fewer parameters, allow {points_needed} trials, or choose the algorithm 'bayesian'.",
                got=self.setup.max_trials,
                expected=points_needed,
            )

    def decide(self, trials: Sequence[Trial]) -> Decision:
        if len(trials) >= self.setup.max_trials:
            return Done(SPENT)
        taken = points.tried(self.setup.space, trials)
        point = next((point for point in self._points() if points.key(self.setup.space, point) not in taken), None)
        if point is None:
            return Done("every point of the grid has been tried")
        return Wait() if is_full(self.setup, trials) else Start(point, "grid")

    def _points(self) -> list[points.Point]:
        names = [dimension.name for dimension in self.setup.space.dimensions]
        axes = [
            _levels(dimension, levels)
            for dimension, levels in zip(self.setup.space.dimensions, self._sizes(), strict=True)
        ]
        grid = [dict(zip(names, coordinates, strict=True)) for coordinates in itertools.product(*axes)]
        self.setup.random("grid").shuffle(grid)
        return grid

    def _sizes(self) -> list[int]:
        """Return the levels of every dimension: 2 at least, then more for the coarsest one while all of them fit."""
        dimensions = self.setup.space.dimensions
        limits = [points.count(dimension) for dimension in dimensions]
        numeric = [place for place, dimension in enumerate(dimensions) if dimension.kind != "choice"]
        fixed = self.setup.options.get("levels")
        sizes = [
            int(min(limit, int(fixed or 2))) if place in numeric else int(limit) for place, limit in enumerate(limits)
        ]
        while fixed is None:
            growing = [place for place in numeric if sizes[place] < limits[place]]
            if not growing:
                break
            place = min(growing, key=lambda place: sizes[place])
            if math.prod(sizes) // sizes[place] * (sizes[place] + 1) > self.setup.max_trials:
                break
            sizes[place] += 1
        return sizes


def _levels(dimension: Dimension, levels: int) -> list[Coordinate]:
    """Return evenly spaced coordinates, both ends among them; the middle where there is one level."""
    if dimension.kind == "choice":
        return [choice for choice, _ in points.options(dimension)]
    fractions = [0.5] if levels == 1 else [step / (levels - 1) for step in range(levels)]
    return list(dict.fromkeys(points.from_unit(dimension, fraction) for fraction in fractions))
