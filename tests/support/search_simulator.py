"""A search without trainings: trials follow learning curves of a formula and end in a random order."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tao_skill_bank.automl.plan.algorithms import Setup
from tao_skill_bank.automl.plan.history import Algorithm, Coordinate, Done, Promote, Start, Trial, TrialState, Wait


@dataclass(frozen=True)
class FakeDimension:
    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: Sequence[Coordinate] = ()
    weights: Sequence[float] | None = None


@dataclass(frozen=True)
class FakeSpace:
    dimensions: Sequence[FakeDimension]


LEARNING_RATE = FakeDimension("train.lr", "float", 1e-6, 1e-4, log=True)
RANK = FakeDimension("lora.r", "power", 2, 7)
ALPHA = FakeDimension("lora.alpha", "ratio", -2, 2)
DECAY = FakeDimension("train.decay", "share", 0.0, 1.0)
SCHEDULE = FakeDimension("train.schedule", "choice", choices=("cosine", "linear", "constant"), weights=(0.6, 0.4, 0.0))
PACKING = FakeDimension("train.packing", "choice", choices=(True, False))
SPACE = FakeSpace((LEARNING_RATE, RANK, ALPHA, DECAY, SCHEDULE, PACKING))
RECIPE: dict[str, Coordinate] = {
    "train.lr": 1e-5,
    "lora.r": 4,
    "lora.alpha": 0,
    "train.decay": 0.1,
    "train.schedule": "cosine",
    "train.packing": True,
}


def curve(point: Mapping[str, Coordinate], epoch: int) -> float:
    """Best at a learning rate of 2e-5 and a rank of 32 or more; falls with the epochs."""
    end = 0.3 + 0.1 * (math.log10(float(point["train.lr"])) + 4.7) ** 2
    end += 0.02 * max(0, 5 - int(point.get("lora.r", 5))) + 0.05 * (point.get("train.schedule") == "constant")
    return end + (2 - end) * 0.6**epoch


@dataclass
class Simulator:
    """Runs a search to its end, and checks at every decision what must hold for all algorithms."""

    algorithm: Algorithm
    setup: Setup
    recipe_until: int | None
    failing: Callable[[int], bool] = lambda _number: False
    score: Callable[[Mapping[str, Coordinate], int], float] = curve
    recipe: Mapping[str, Coordinate] | None = None
    done: Done | None = None

    def run(self, order: int = 0) -> list[Trial]:
        rng = random.Random(order)
        trials = [Trial(0, self.recipe or RECIPE, TrialState.RUNNING, until=self.recipe_until, origin="recipe")]
        for _ in range(10_000):
            decision = self.algorithm.decide(trials)
            running = [trial for trial in trials if trial.state is TrialState.RUNNING]
            match decision:
                case Start():
                    trials.append(_started(decision, len(trials)))
                case Promote(number, until):
                    assert trials[number].state is TrialState.PAUSED
                    assert until > max(trials[number].scores)
                    trials[number] = replace(trials[number], state=TrialState.RUNNING, until=until)
                case _ if running:
                    ended = self._end(rng.choice(running))
                    trials[ended.number] = ended
                case Done():
                    self.done = decision
                    return trials
                case Wait():
                    raise AssertionError("waits though nothing runs")
            assert sum(trial.state is TrialState.RUNNING for trial in trials) <= self.setup.parallel
            assert len(trials) <= self.setup.max_trials
        raise AssertionError("never ends")

    def _end(self, trial: Trial) -> Trial:
        if self.failing(trial.number):
            return replace(trial, state=TrialState.FAILED)
        until = trial.until or self.setup.max_epochs
        begins = max(trial.scores, default=int(trial.sampler.get("born", 0)))
        scores = {**trial.scores, **{at: self.score(trial.coordinates, at) for at in range(begins + 1, until + 1)}}
        state = TrialState.COMPLETE if until == self.setup.max_epochs else TrialState.PAUSED
        return replace(trial, scores=scores, state=state, gpu_hours=0.1 * len(scores))


def _started(decision: Start, number: int) -> Trial:
    return Trial(
        number,
        decision.coordinates,
        TrialState.RUNNING,
        until=decision.until,
        origin=decision.origin,
        parent=decision.parent,
        sampler=decision.sampler,
    )
