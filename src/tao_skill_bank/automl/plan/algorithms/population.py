"""Population based training (Jaderberg et al. 2017): perturbed copies of the best replace the worst."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from tao_skill_bank.automl.plan.algorithms import points
from tao_skill_bank.automl.plan.algorithms._setup import Dimension, Setup
from tao_skill_bank.automl.plan.algorithms.full import SPENT, is_full
from tao_skill_bank.automl.plan.algorithms.rungs import waits_before
from tao_skill_bank.automl.plan.algorithms.samplers import RandomSampler, untried_proposal
from tao_skill_bank.automl.plan.history import Coordinate, Decision, Done, Promote, Start, Trial, TrialState, Wait

QUARTILE = 0.25  # of the population that is replaced, and that is copied
SMALLEST = 4  # the smallest population that has a quarter
STEP = 0.1  # of the range that a copied coordinate moves, up or down, give or take a half


@dataclass(frozen=True)
class PopulationBasedTraining:
    """A population trains in steps of min_epochs. After each the worst quarter is replaced by copies of the best.

    A copy is a new trial that resumes from its parent's checkpoint (`Start.parent`). Only real-valued parameters are
    perturbed: a checkpoint fits one network, which choices and powers of two may change. `options["explore"]` names
    others. `options["population"]` sets the size; else it is the largest that max_trials allows.
    """

    setup: Setup

    def decide(self, trials: Sequence[Trial]) -> Decision:
        if is_full(self.setup, trials):
            return Wait()
        if len(trials) < self.population:
            proposal = untried_proposal(RandomSampler(), self.setup, trials)
            if proposal is not None:
                return Start(proposal.point, proposal.origin, until=self.steps[0], sampler={"born": 0})
        early = next((trial for trial in trials if waits_before(trial, self.steps[0])), None)
        if early is not None:
            return Promote(early.number, self.steps[0])
        for rung, following in pairwise(self.steps):
            decision = self._after(rung, following, trials)
            if decision is not None:
                return decision
        if any(trial.state is TrialState.RUNNING for trial in trials):
            return Wait()
        return Done("the population has trained to its end" if len(trials) < self.setup.max_trials else SPENT)

    @property
    def recipe_until(self) -> int:
        return self.steps[0]

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """The epochs after which the population is ranked: multiples of min_epochs, as close as max_trials allows."""
        setup = self.setup
        for interval in range(setup.min_epochs, setup.max_epochs, setup.min_epochs):
            steps = (*range(interval, setup.max_epochs, interval), setup.max_epochs)
            if _started(SMALLEST, steps) <= setup.max_trials:
                return steps
        return (setup.max_epochs,)

    @cached_property
    def population(self) -> int:
        """Members at a time: with all of their copies they are no more than max_trials."""
        setup = self.setup
        given = setup.options.get("population")
        if given is not None:
            return min(int(given), setup.max_trials)
        sizes = range(1, setup.max_trials + 1)
        return max(size for size in sizes if size == 1 or _started(size, self.steps) <= setup.max_trials)

    def _after(self, rung: int, following: int, trials: Sequence[Trial]) -> Decision | None:
        """Return what is left to begin after a step, None if all of it has begun."""
        members = [trial for trial in trials if _born(trial) < rung and (trial.until is None or trial.until >= rung)]
        if any(trial.state is TrialState.RUNNING and trial.until == rung for trial in members):
            return Wait()
        failed = [trial for trial in members if trial.state is TrialState.FAILED and trial.until == rung]
        order = _ranked(members, failed, rung)
        if not order:
            return None
        worst = min(max(_quarter(len(members)) - len(failed), 0), len(order) - 1)
        best = [trial for trial in order[: max(1, _quarter(len(order)))] if waits_before(trial, following)]
        copies = sum(_born(trial) == rung for trial in trials)
        if best and copies < worst + len(failed) and len(trials) < self.setup.max_trials:
            return self._copy(best, rung, following, trials)
        for trial in order[: len(order) - worst]:
            if waits_before(trial, following):
                return Promote(trial.number, following)
        return None

    def _copy(self, best: Sequence[Trial], rung: int, following: int, trials: Sequence[Trial]) -> Start:
        """Return a copy of one of the best; all copies of a step begin before any of its members resumes."""
        rng = self.setup.random("copy", len(trials))
        parent = rng.choice(best)
        coordinates = self._perturbed(parent.coordinates, rng)
        return Start(coordinates, "pbt", until=following, parent=parent.number, sampler={"born": rung})

    def _perturbed(self, coordinates: Mapping[str, Coordinate], rng: random.Random) -> points.Point:
        explored = self.setup.options.get("explore")
        moved = dict(coordinates)
        for dimension in self.setup.space.dimensions:
            if dimension.kind == "float" if explored is None else dimension.name in explored:
                moved[dimension.name] = _perturbed(dimension, coordinates[dimension.name], rng)
        return moved


def _perturbed(dimension: Dimension, coordinate: Coordinate, rng: random.Random) -> Coordinate:
    if dimension.kind == "choice":
        choices, weights = zip(*points.options(dimension), strict=True)
        drawn: Coordinate = rng.choices(choices, weights)[0]
        return drawn if rng.random() < QUARTILE else coordinate
    place = points.to_unit(dimension, float(coordinate))
    step = rng.choice((-STEP, STEP)) * rng.uniform(0.5, 1.5)
    return points.from_unit(dimension, place + step if 0 <= place + step <= 1 else place - step)


def _ranked(members: Sequence[Trial], failed: Sequence[Trial], rung: int) -> list[Trial]:
    """Return the members by their score after a step. One that failed later keeps its rank: its copies exist."""
    scored = [(trial.score_at(rung), trial.number, trial) for trial in members if trial not in failed]
    return [
        trial for _, _, trial in sorted((each for each in scored if each[0] is not None), key=lambda each: each[:2])
    ]


def _born(trial: Trial) -> int:
    """Return the epoch of the checkpoint that a trial began from, 0 for none."""
    born: int = trial.sampler.get("born", 0)
    return born


def _started(size: int, steps: Sequence[int]) -> int:
    """Return how many trials a population begins, its copies included."""
    return size + (len(steps) - 1) * _quarter(size)


def _quarter(size: int) -> int:
    return math.ceil(QUARTILE * size) if size > 1 else 0
