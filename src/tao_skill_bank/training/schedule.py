"""The learning rate as a fraction of its peak: linear warm-up from 0, then decay to a floor."""

import math
from dataclasses import dataclass
from typing import Literal

DecayType = Literal["linear", "sqrt", "cosine", "none"]


@dataclass(frozen=True)
class Schedule:
    """Warm-up and decay over a run.

    Attributes:
        num_steps: optimizer steps of the whole run.
        num_warmup_steps: steps of linear warm-up.
        decay: shape after warm-up: with p the share of decay steps done, linear 1 - p, sqrt 1 - sqrt(p),
            cosine (1 + cos(pi p)) / 2, none 1.
        min_factor: floor of the decay, which is scaled into [min_factor, 1].

    """

    num_steps: int
    num_warmup_steps: int = 0
    decay: DecayType = "linear"
    min_factor: float = 0.0

    def factor(self, step: int) -> float:
        """Return the factor of step `step`, counted from 0."""
        if step < self.num_warmup_steps:
            return step / self.num_warmup_steps
        done = (step - self.num_warmup_steps) / max(1, self.num_steps - self.num_warmup_steps)
        return self.min_factor + (1 - self.min_factor) * _decay(self.decay, min(done, 1.0))


def _decay(decay: DecayType, done: float) -> float:
    match decay:
        case "linear":
            return 1 - done
        case "sqrt":
            return 1 - math.sqrt(done)
        case "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        case "none":
            return 1.0
