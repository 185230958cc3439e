"""Bayesian optimisation by a Gaussian process: Optuna's GPSampler, in a child process because it imports torch.

Upstream's bfbo maximises an upper confidence bound under local penalties around running trials. Here a batch comes from
the expected improvement over running trials (qLogEI), which a library maintains.

    python -m tao_skill_bank.automl.plan.algorithms.gaussian < setup and trials as JSON > proposal as JSON
"""

import json
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tao_skill_bank.automl.plan.algorithms import studies
from tao_skill_bank.automl.plan.algorithms._setup import Setup
from tao_skill_bank.automl.plan.algorithms.points import Point
from tao_skill_bank.automl.plan.algorithms.samplers import (
    Proposal,
    RandomSampler,
    informative,
    startup,
    weighted_sampler,
)
from tao_skill_bank.automl.plan.history import Coordinate, Trial, TrialState
from tao_skill_bank.core import settings
from tao_skill_bank.errors import BlockedError

COMMAND = ("-P", "-m", "tao_skill_bank.automl.plan.algorithms.gaussian")
TIMEOUT_SECONDS = 600
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class GaussianSampler:
    """Proposes by a Gaussian process after a start of random points."""

    def propose(self, setup: Setup, trials: Sequence[Trial], rng: random.Random) -> Proposal:
        if informative(trials) < startup(setup):
            return RandomSampler().propose(setup, trials, rng)
        return Proposal(self.model(setup, trials, rng.getrandbits(32)), "bfbo")

    def model(self, setup: Setup, trials: Sequence[Trial], seed: int) -> Point:
        try:
            child = subprocess.run(
                [sys.executable, *COMMAND],
                input=request(setup, trials, seed),
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_SECONDS,
                env=settings.child_environment(**THREADS),
            )
        except subprocess.TimeoutExpired as error:
            raise _failed(f"did not answer in {TIMEOUT_SECONDS} s") from error
        if child.returncode != 0:
            last = child.stderr.strip().splitlines()[-1:] or ["no output"]
            raise _failed(f"ended with code {child.returncode}: {last[0]}")
        point: Point = json.loads(child.stdout)
        return point


def _failed(how: str) -> BlockedError:
    return BlockedError.of(
        "gaussian_process_failed",
        f"The Gaussian process of 'bfbo' {how}.",
        "pip install 'tao-skill-bank[automl-gp]', or choose the algorithm 'bayesian'.",
    )


class InProcess(GaussianSampler):
    """The same without a child process, for benchmarks and inside the child."""

    def model(self, setup: Setup, trials: Sequence[Trial], seed: int) -> Point:
        sampler = studies.load().samplers.GPSampler(
            seed=seed,
            n_startup_trials=0,
            independent_sampler=weighted_sampler(setup, random.Random(seed)),
            warn_independent_sampling=False,
        )
        return studies.ask(setup, trials, sampler)[0]


def request(setup: Setup, trials: Sequence[Trial], seed: int) -> str:
    """Return what the child process reads."""
    return json.dumps(
        {
            "space": [
                {name: getattr(dimension, name) for name in _Dimension.__dataclass_fields__}
                for dimension in setup.space.dimensions
            ],
            "objectives": setup.objectives,
            "seed": seed,
            "trials": [asdict(trial) for trial in trials],
        }
    )


@dataclass(frozen=True)
class _Dimension:
    name: str
    kind: str
    low: float | None
    high: float | None
    log: bool
    choices: tuple[Coordinate, ...]
    weights: tuple[float, ...] | None


@dataclass(frozen=True)
class _Space:
    dimensions: tuple[_Dimension, ...]


def _answer(asked: Mapping[str, Any]) -> Point:
    setup = Setup(
        _Space(tuple(_Dimension(**dimension) for dimension in asked["space"])),
        objectives=tuple(asked["objectives"]),
    )
    trials = [
        Trial(
            **{
                **trial,
                "state": TrialState(trial["state"]),
                "scores": {int(epoch): score for epoch, score in trial["scores"].items()},
            }
        )
        for trial in asked["trials"]
    ]
    return InProcess().model(setup, trials, asked["seed"])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_answer(json.load(sys.stdin))))
