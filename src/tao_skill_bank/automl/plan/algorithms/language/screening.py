"""Checks an experiment before it runs, and judges it afterwards. Cheap rules, no model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tao_skill_bank.automl.plan.algorithms import points
from tao_skill_bank.automl.plan.algorithms._setup import Setup, Space
from tao_skill_bank.automl.plan.history import Coordinate, Trial, TrialState

NEAR = 0.05  # of every parameter's range: as near to a failed trial as this, a point is expected to fail as well
NOISE = 0.01  # of the recipe's score: what a repeated training may differ by where the request does not say


@dataclass(frozen=True)
class Verdict:
    """Whether a trial that ended became the configuration to improve on, and why."""

    number: int
    is_kept: bool
    reason: str

    def __str__(self) -> str:
        return f"{'kept' if self.is_kept else 'discarded'}: {self.reason}"


def noise(setup: Setup, trials: Sequence[Trial]) -> float:
    """Return by how much a score has to be better to count as better."""
    named = setup.options.get("noise")
    recipe = trials[0].score
    return float(named) if named is not None else NOISE * abs(recipe or 0.0)


def verdicts(trials: Sequence[Trial], noise: float) -> list[Verdict]:
    """Judge the trials that ended, in the order of their numbers: each against the one that was kept before."""
    found: list[Verdict] = []
    kept: tuple[int, float] | None = None
    for trial in trials:
        if not trial.state.is_final:
            continue
        score = None if trial.state is TrialState.FAILED else trial.score
        if score is None:
            found.append(Verdict(trial.number, False, trial.diagnosis or f"it ended {trial.state} without a score"))
        elif kept is None:
            found.append(Verdict(trial.number, True, f"{score:.6g} is the first score"))
            kept = trial.number, score
        else:
            is_better = score < kept[1] - noise
            words = f"{score:.6g} is {'' if is_better else 'not '}below the {kept[1]:.6g} of trial {kept[0]}"
            found.append(Verdict(trial.number, is_better, f"{words} by more than {noise:.3g}"))
            kept = (trial.number, score) if is_better else kept
    return found


def complaints(setup: Setup, trials: Sequence[Trial], point: Mapping[str, Coordinate]) -> Iterator[str]:
    """Yield why an experiment should not run: it would likely fail, or not fit into the GPU hours left."""
    for trial in trials:
        if trial.state in (TrialState.FAILED, TrialState.PRUNED):
            parts = distances(setup.space, trial.coordinates, point)
            if max(parts, default=0.0) <= NEAR:
                why = trial.diagnosis or trial.state.value.lower()
                yield f"That is next to trial {trial.number}, which failed or was pruned ({why}). Go further away."
                break
    left = hours_left(setup, trials)
    nearest = _nearest(setup.space, trials, point)
    if left is not None and nearest is not None and nearest.gpu_hours > left:
        yield (
            f"Trial {nearest.number}, the nearest one, took {nearest.gpu_hours:.3g} GPU hours, "
            f"and {left:.3g} are left. Propose a cheaper one."
        )


def is_spent(setup: Setup, trials: Sequence[Trial]) -> bool:
    """Return whether not even the cheapest trial so far would fit into the GPU hours left."""
    left = hours_left(setup, trials)
    ended = [trial.gpu_hours for trial in trials if trial.state is TrialState.COMPLETE]
    return left is not None and (left <= 0 or min(ended, default=0.0) > left)


def hours_left(setup: Setup, trials: Sequence[Trial]) -> float | None:
    """Return the GPU hours remaining after all running trials have ended; None for no limit."""
    limit = setup.options.get("max_gpu_hours")
    if limit is None:
        return None
    spent = sum(trial.gpu_hours for trial in trials)
    for trial in trials:
        nearest = _nearest(setup.space, trials, trial.coordinates) if trial.state is TrialState.RUNNING else None
        spent += max(0.0, nearest.gpu_hours - trial.gpu_hours) if nearest else 0.0
    return float(limit) - spent


def budget(setup: Setup, trials: Sequence[Trial]) -> str:
    """Return the remaining trials and GPU hours, in words."""
    left = hours_left(setup, trials)
    trials_left = f"{setup.max_trials - len(trials)} trials"
    return trials_left if left is None else f"{trials_left} and {left:.3g} GPU hours"


def distances(space: Space, one: Mapping[str, Coordinate], other: Mapping[str, Coordinate]) -> list[float]:
    """Return how far two points lie apart in each parameter, as a share of its range; other choices are 1 apart."""
    parts = []
    for dimension in space.dimensions:
        left, right = one[dimension.name], other[dimension.name]
        if dimension.kind == "choice":
            parts.append(0.0 if left == right else 1.0)
        else:
            parts.append(abs(points.to_unit(dimension, float(left)) - points.to_unit(dimension, float(right))))
    return parts


def _nearest(space: Space, trials: Sequence[Trial], point: Mapping[str, Coordinate]) -> Trial | None:
    ended = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return min(ended, key=lambda trial: math.hypot(*distances(space, trial.coordinates, point)), default=None)
