"""Searches whose trials all train to their end."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from tao_skill_bank.automl.algorithms import points
from tao_skill_bank.automl.algorithms._setup import Dimension, Setup
from tao_skill_bank.automl.algorithms.samplers import Sampler, untried_proposal
from tao_skill_bank.automl.history import Coordinate, Decision, Done, Start, Trial, TrialState, Wait

SPENT = "max_trials trials have been started"
EXHAUSTED = "every point of the space has been tried"


def is_full(setup: Setup, trials: Sequence[Trial]) -> bool:
    """Tell whether as many trials run as may."""
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
    """The points of a grid, in an order that covers the space wherever it ends.

    Every choice and integer is on the grid while that fits into max_trials; ranges get as many levels as fit.
    `options["levels"]` fixes the levels of every range.
    """

    setup: Setup

    def decide(self, trials: Sequence[Trial]) -> Decision:
        if len(trials) >= self.setup.max_trials:
            return Done(SPENT)
        taken = points.tried(self.setup.space, trials)
        point = next((point for point in self._points() if points.key(self.setup.space, point) not in taken), None)
        if point is None:
            return Done("every point of the grid has been tried")
        return Wait() if is_full(self.setup, trials) else Start(point, "grid")

    def _points(self) -> list[points.Point]:
        """Return the grid's points that the search may need: as many as its trials, besides the recipe."""
        axes = [
            _levels(dimension, levels)
            for dimension, levels in zip(self.setup.space.dimensions, self._sizes(), strict=True)
        ]
        strides = list(itertools.accumulate((len(axis) for axis in axes), lambda left, right: left * right, initial=1))
        total = strides[-1]
        chosen = self.setup.random("grid").sample(range(total), min(total, self.setup.max_trials + 1))
        names = [dimension.name for dimension in self.setup.space.dimensions]
        return [
            {
                name: axis[place // stride % len(axis)]
                for name, axis, stride in zip(names, axes, strides[:-1], strict=True)
            }
            for place in chosen
        ]

    def _sizes(self) -> list[int]:
        """Return the levels of every dimension: 2 at least, then more for the coarsest one while all of them fit."""
        dimensions = self.setup.space.dimensions
        limits = [points.count(dimension) for dimension in dimensions]
        fixed = self.setup.options.get("levels")
        ranges = [dimension.kind != "choice" for dimension in dimensions]
        if fixed is not None:
            return [
                int(min(limit, int(fixed))) if is_range else int(limit)
                for limit, is_range in zip(limits, ranges, strict=True)
            ]
        sizes = [int(min(limit, 2)) if is_range else int(limit) for limit, is_range in zip(limits, ranges, strict=True)]
        while True:
            growing = [place for place, limit in enumerate(limits) if ranges[place] and sizes[place] < limit]
            if not growing:
                return sizes
            place = min(growing, key=lambda place: sizes[place])
            sizes[place] += 1
            total = 1
            for levels in sizes:
                total *= levels
            if total > self.setup.max_trials:
                sizes[place] -= 1
                return sizes


def _levels(dimension: Dimension, levels: int) -> list[Coordinate]:
    """Return evenly spaced coordinates, both ends among them; the middle where there is one level."""
    if dimension.kind == "choice":
        return [choice for choice, _ in points.options(dimension)]
    fractions = [0.5] if levels == 1 else [step / (levels - 1) for step in range(levels)]
    return list(dict.fromkeys(points.from_unit(dimension, fraction) for fraction in fractions))
