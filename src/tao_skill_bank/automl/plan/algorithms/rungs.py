"""Searches that pause trials at rungs and resume the best: ASHA, and Hyperband with its relatives."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, pairwise

from tao_skill_bank.automl.plan.algorithms._setup import Setup
from tao_skill_bank.automl.plan.algorithms.full import EXHAUSTED, SPENT, is_full
from tao_skill_bank.automl.plan.algorithms.samplers import (
    Proposal,
    RandomSampler,
    Sampler,
    TpeSampler,
    untried_proposal,
)
from tao_skill_bank.automl.plan.history import Decision, Done, Promote, Start, Trial, TrialState, Wait


def ranked(trials: Sequence[Trial], epoch: int) -> list[Trial]:
    """Return the trials that have a score at an epoch, best first. A failed trial has none."""
    reached = [trial for trial in trials if trial.state is not TrialState.FAILED and trial.score_at(epoch) is not None]
    return sorted(reached, key=lambda trial: (trial.score_at(epoch), trial.number))


def waits_before(trial: Trial, following: int) -> bool:
    """Return whether a trial is paused and has not been asked to reach the following rung."""
    return trial.state is TrialState.PAUSED and trial.until is not None and trial.until < following


@dataclass(frozen=True)
class Asha:
    """Asynchronous successive halving (Li et al. 2020): the best 1/eta of a rung are promoted at once.

    When all trials have been started and none runs, every rung promotes at least its best one, so that the search ends
    with a trial that trained to its end.
    """

    setup: Setup
    sampler: Sampler

    @property
    def recipe_until(self) -> int:
        return self.setup.rungs[0]

    def decide(self, trials: Sequence[Trial]) -> Decision:
        setup = self.setup
        if is_full(setup, trials):
            return Wait()
        promotion = self._promotion(trials, at_least=0)
        if promotion is not None:
            return promotion
        spent = len(trials) >= setup.max_trials
        proposal = None if spent else untried_proposal(self.sampler, setup, trials)
        if proposal is not None:
            return Start(proposal.point, proposal.origin, until=setup.rungs[0], sampler=proposal.keeps)
        if any(trial.state is TrialState.RUNNING for trial in trials):
            return Wait()
        return self._promotion(trials, at_least=1) or Done(SPENT if spent else EXHAUSTED)

    def _promotion(self, trials: Sequence[Trial], at_least: int) -> Promote | None:
        """Return the promotion from the highest rung that has one."""
        rungs = self.setup.rungs
        for rung, following in reversed(list(pairwise(rungs))):
            reached = ranked(trials, rung)
            best = reached[: max(at_least, len(reached) // self.setup.eta)]
            for trial in best:
                if waits_before(trial, following):
                    return Promote(trial.number, following)
        return None


@dataclass(frozen=True)
class Bracket:
    """A cohort of trials, by number, that begins at one rung and is cut to 1/eta at each."""

    numbers: range
    rungs: tuple[int, ...]


@dataclass(frozen=True)
class EarlyStop:
    """Thresholds that stop a trial at its rung, whatever its rank in the cohort. They never stop trial 0.

    Attributes:
        keep: the fraction of all trials at a rung that may resume, the best ones.
        min_gain: how far the score has to fall from one rung to the next, as a fraction of its size.

    """

    keep: float = 0.5
    min_gain: float = 0.002

    def stops(self, trial: Trial, trials: Sequence[Trial], rungs: Sequence[int], at: int) -> bool:
        """Return whether a trial that reached `rungs[at]` stops there."""
        if trial.number == 0:
            return False
        numbers = [each.number for each in ranked(trials, rungs[at])]
        if len(numbers) > 2 and numbers.index(trial.number) >= math.ceil(self.keep * len(numbers)):
            return True
        score, before = trial.score_at(rungs[at]), trial.score_at(rungs[at - 1]) if at else None
        return score is not None and before is not None and before - score < self.min_gain * abs(before)


@dataclass(frozen=True)
class Hyperband:
    """Hyperband (Li et al. 2018): cohorts that begin at every rung in turn, from many short trials to a few full ones.

    A cohort is cut when all of its trials have reached the rung; meanwhile the next cohort begins. The last cohort is
    as large as max_trials leaves it. Each promotes at least one trial.
    """

    setup: Setup
    sampler: Sampler
    early_stop: EarlyStop | None = None

    @property
    def recipe_until(self) -> int:
        return self.setup.rungs[0]

    def decide(self, trials: Sequence[Trial]) -> Decision:
        setup = self.setup
        if is_full(setup, trials):
            return Wait()
        promotion = self._promotion(trials, setup.max_trials)
        if promotion is not None:
            return promotion
        spent = len(trials) >= setup.max_trials
        proposal = None if spent else untried_proposal(self.sampler, setup, trials)
        if proposal is not None:
            own = next(bracket for bracket in self.brackets(setup.max_trials) if len(trials) in bracket.numbers)
            begins = own.rungs[0] if self.early_stop is None else setup.rungs[0]
            return Start(proposal.point, proposal.origin, until=begins, sampler=proposal.keeps)
        promotion = self._promotion(trials, len(trials))
        if promotion is not None:
            return promotion
        if any(trial.state is TrialState.RUNNING for trial in trials):
            return Wait()
        return Done(SPENT if spent else EXHAUSTED)

    def _promotion(self, trials: Sequence[Trial], size: int) -> Promote | None:
        for bracket in self.brackets(size):
            promotion = self._promotion_in(bracket, trials)
            if promotion is not None:
                return promotion
        return None

    def brackets(self, size: int) -> Iterator[Bracket]:
        """Yield the cohorts of a search of `size` trials."""
        rungs, eta = self.setup.rungs, self.setup.eta
        first = 0
        for skipped in cycle(range(len(rungs))):
            halvings = len(rungs) - 1 - skipped
            cohort = -(-len(rungs) * eta**halvings // (halvings + 1))
            yield Bracket(range(first, min(first + cohort, size)), rungs[skipped:])
            first += cohort
            if first >= size:
                return

    def _promotion_in(self, bracket: Bracket, trials: Sequence[Trial]) -> Promote | None:
        cohort = [trial for trial in trials if trial.number in bracket.numbers]
        alive = len(cohort)
        for at, (rung, following) in enumerate(pairwise(self.setup.rungs)):
            if rung >= bracket.rungs[0]:
                if len(cohort) < len(bracket.numbers) or any(_is_on_its_way(trial, rung) for trial in cohort):
                    return None
                alive = max(1, alive // self.setup.eta)
            for trial in ranked(cohort, rung)[:alive]:
                if waits_before(trial, following) and not self._is_stopped(trial, trials, at):
                    return Promote(trial.number, following)
        return None

    def _is_stopped(self, trial: Trial, trials: Sequence[Trial], at: int) -> bool:
        return self.early_stop is not None and self.early_stop.stops(trial, trials, self.setup.rungs, at)


def _is_on_its_way(trial: Trial, epoch: int) -> bool:
    return trial.state is TrialState.RUNNING and trial.until is not None and trial.until <= epoch


@dataclass(frozen=True)
class BohbSampler:
    """BOHB (Falkner et al. 2018): the Parzen estimator on the longest trainings of which there are enough, else random.

    Every third point is random, so that a model that is wrong about long trainings cannot dominate the search.
    """

    def propose(self, setup: Setup, trials: Sequence[Trial], rng: random.Random) -> Proposal:
        enough = len(setup.space.dimensions) + 2
        if rng.random() < 1 / 3:
            return RandomSampler().propose(setup, trials, rng)
        for rung in reversed(setup.rungs):
            if len(ranked(trials, rung)) >= enough:
                return TpeSampler("bohb").model(setup, [_as_of(trial, rung) for trial in trials], rng)
        return RandomSampler().propose(setup, trials, rng)


def _as_of(trial: Trial, epoch: int) -> Trial:
    """Return a trial as if it had ended at an epoch; one that has not reached it counts as running."""
    score = trial.score_at(epoch)
    if trial.state is TrialState.FAILED:
        return trial
    if score is None:
        return replace(trial, scores={}, state=TrialState.RUNNING)
    return replace(trial, scores={epoch: score}, state=TrialState.COMPLETE)
