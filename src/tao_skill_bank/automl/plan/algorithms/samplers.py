"""Samplers of the next point: functions of the trials and a seed. The models are Optuna's."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from tao_skill_bank.automl.plan.algorithms import cmaes_state, points, studies
from tao_skill_bank.automl.plan.algorithms._setup import Setup
from tao_skill_bank.automl.plan.algorithms.points import Point
from tao_skill_bank.automl.plan.history import Trial, TrialState

ATTEMPTS = 8  # seeds that a sampler gets before a point that it repeats is replaced by a random one


@dataclass(frozen=True)
class Proposal:
    """A point, and what the sampler stores with its trial."""

    point: Point
    origin: str
    keeps: Mapping[str, Any] = field(default_factory=dict)


class Sampler(Protocol):
    """Proposes a point. The same trials and the same state of `rng` give the same point."""

    def propose(self, setup: Setup, trials: Sequence[Trial], rng: random.Random) -> Proposal: ...


def untried_proposal(sampler: Sampler, setup: Setup, trials: Sequence[Trial]) -> Proposal | None:
    """Return a proposal of an untried point, None if all points of the space have been tried."""
    taken = points.tried(setup.space, trials)
    for attempt in range(ATTEMPTS):
        proposal = sampler.propose(setup, trials, setup.random("propose", len(trials), attempt))
        if points.key(setup.space, proposal.point) not in taken:
            return proposal
    point = points.untried(setup.space, taken, setup.random("untried", len(trials)))
    return None if point is None else Proposal(point, "random")


class RandomSampler:
    """Uniform over the space, choices by their weights."""

    def propose(self, setup: Setup, trials: Sequence[Trial], rng: random.Random) -> Proposal:  # noqa: ARG002
        return Proposal(points.random_point(setup.space, rng), "random")


@dataclass(frozen=True)
class TpeSampler:
    """Optuna's tree-structured Parzen estimator, after a start of random points.

    Running trials count as bad ones (constant liar), so that parallel proposals differ.
    """

    name: str = "bayesian"
    multivariate: bool = True

    def propose(self, setup: Setup, trials: Sequence[Trial], rng: random.Random) -> Proposal:
        if informative(trials) < startup(setup):
            return RandomSampler().propose(setup, trials, rng)
        return self.model(setup, trials, rng)

    def model(self, setup: Setup, trials: Sequence[Trial], rng: random.Random) -> Proposal:
        """Propose from the model, however few trials there are."""
        sampler = studies.load().samplers.TPESampler(
            seed=rng.getrandbits(32),
            n_startup_trials=0,
            multivariate=self.multivariate,
            constant_liar=True,
        )
        point, keeps = studies.ask(setup, trials, sampler)
        return Proposal(point, self.name, keeps)


class CmaesSampler:
    """Optuna's CMA-ES for the numbers, choices at random by their weights."""

    def propose(self, setup: Setup, trials: Sequence[Trial], rng: random.Random) -> Proposal:
        seed = rng.getrandbits(32)
        sampler = studies.load().samplers.CmaEsSampler(
            seed=seed,
            independent_sampler=weighted_sampler(setup, rng),
            warn_independent_sampling=False,
        )
        point, keeps = studies.ask(setup, [cmaes_state.admitted(trial) for trial in trials], sampler)
        return Proposal(point, "cmaes", keeps)


def informative(trials: Sequence[Trial]) -> int:
    """Return how many trials a model can learn from."""
    return sum(bool(trial.scores) and trial.state not in (TrialState.RUNNING, TrialState.FAILED) for trial in trials)


def startup(setup: Setup) -> int:
    """Return how many trials a model waits for: Optuna's 10, fewer in a short search."""
    return min(10, max(4, setup.max_trials // 3))


def weighted_sampler(setup: Setup, rng: random.Random) -> Any:
    """Return a sampler of Optuna's kind that draws every parameter from the space by itself."""
    return _weighted_class()(setup, rng)


@cache
def _weighted_class() -> type[Any]:
    base: type[Any] = studies.load().samplers.BaseSampler

    class Weighted(base):  # type: ignore[misc]
        def __init__(self, setup: Setup, rng: random.Random) -> None:
            self.params = studies.params(setup.space, points.random_point(setup.space, rng)) or {}

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:  # noqa: ARG002
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:  # noqa: ARG002
            return {}

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:  # noqa: ARG002
            return self.params[param_name]

    return Weighted
