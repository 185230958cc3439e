"""Fine-tunings that are formulas: where a training ends, how fast it gets there, and how noisy its score is."""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.algorithms import Setup
from tao_skill_bank.automl.plan.algorithms.points import Point
from tao_skill_bank.automl.plan.history import Coordinate, Done, Promote, Start, Trial, TrialState, Wait

EPOCHS, ETA = 9, 3


@dataclass(frozen=True)
class Axis:
    """A dimension of a surrogate's space."""

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Coordinate, ...] = ()
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Surrogate:
    """A training as a formula: the loss falls from `start` towards `end(point)` by the factor `pace(point)` an epoch.

    Attributes:
        end: the loss of an endless training at a point.
        pace: what is left of the distance to the end after an epoch.
        recipe: trial 0.
        best: the lowest end.

    """

    name: str
    dimensions: tuple[Axis, ...]
    end: Callable[[Point], float]
    pace: Callable[[Point], float]
    start: float
    noise: float
    recipe: Mapping[str, Coordinate]
    best: float

    def train(self, point: Mapping[str, Coordinate], loss: float) -> float:
        """Return the loss after one more epoch at a point."""
        end = self.end(dict(point))
        return end + (loss - end) * self.pace(dict(point))

    def measure(self, loss: float, rng: random.Random) -> float:
        return loss + rng.gauss(0, self.noise)


@dataclass
class Training:
    """One simulated training."""

    loss: float
    epoch: int = 0


class Search:
    """Runs one of our algorithms on a surrogate, one trial at a time, up to a budget of epochs."""

    def __init__(self, name: str, surrogate: Surrogate, seed: int, budget: int, algorithm: object = None) -> None:
        trials = budget if algorithms.INFO[name].needs_rungs else budget // EPOCHS
        self.setup = Setup(surrogate, seed, trials, EPOCHS, 1, ETA, options={"population": budget // EPOCHS})
        self.algorithm = algorithm(self.setup) if callable(algorithm) else algorithms.build(name, self.setup)
        self.surrogate, self.budget = surrogate, budget
        self.rng = random.Random(f"noise {seed}")
        until = algorithms.recipe_until(name, self.setup)
        self.trials = [Trial(0, dict(surrogate.recipe), TrialState.RUNNING, until=until, origin="recipe")]
        self.trainings = [Training(surrogate.start)]
        self.best_scores: list[tuple[float, float]] = []

    def run(self) -> list[float]:
        """Return the true loss of the checkpoint with the best score so far, after every epoch of the budget."""
        self._train(0)
        while len(self.best_scores) < self.budget:
            match self.algorithm.decide(self.trials):
                case Start() as start:
                    self._begin(start)
                case Promote(number, until):
                    self.trials[number] = replace(self.trials[number], state=TrialState.RUNNING, until=until)
                    self._train(number)
                case Wait():
                    raise AssertionError("waits though nothing runs")
                case Done():
                    self.best_scores.append(self.best_scores[-1])
        return [loss for _, loss in self.best_scores[: self.budget]]

    def _begin(self, start: Start) -> None:
        number = len(self.trials)
        self.trials.append(
            Trial(
                number,
                start.coordinates,
                TrialState.RUNNING,
                until=start.until,
                origin=start.origin,
                parent=start.parent,
                sampler=start.sampler,
            )
        )
        parent = Training(self.surrogate.start) if start.parent is None else self.trainings[start.parent]
        self.trainings.append(Training(parent.loss, parent.epoch))
        self._train(number)

    def _train(self, number: int) -> None:
        trial, training = self.trials[number], self.trainings[number]
        until = trial.until or EPOCHS
        scores = dict(trial.scores)
        while training.epoch < until:
            training.loss = self.surrogate.train(trial.coordinates, training.loss)
            training.epoch += 1
            scores[training.epoch] = self.surrogate.measure(training.loss, self.rng)
            self.best_scores.append(min([*self.best_scores[-1:], (scores[training.epoch], training.loss)]))
        state = TrialState.COMPLETE if until == EPOCHS else TrialState.PAUSED
        self.trials[number] = replace(trial, scores=scores, state=state, gpu_hours=float(training.epoch))


def _tuning(wide: bool) -> Surrogate:
    """Fine-tuning: a valley in the logarithm of the learning rate, a plateau in the rank, and a few small effects.

    In the wide one the recipe's learning rate is far too small, and a high one learns fast but ends badly, so that
    early scores mislead.
    """
    low, high = (1e-7, 1e-3) if wide else (1e-6, 1e-4)

    def distance(point: Point) -> float:
        return math.log10(float(point["lr"])) - math.log10(3e-5) - 0.1 * (float(point["r"]) - 4)

    def end(point: Point) -> float:
        valley = 0.15 * distance(point) ** 2
        plateau = 0.02 * max(0.0, 5 - float(point["r"])) ** 1.5
        scale = 0.01 * (float(point["alpha"]) - 1) ** 2
        schedule = {"cosine": 0.0, "linear": 0.01, "constant": 0.04, "step": 0.06}[str(point["schedule"])]
        return 0.3 + valley + plateau + scale + schedule + 0.03 * (float(point["warmup"]) - 0.15) ** 2

    def pace(point: Point) -> float:
        return min(max(0.55 - 0.15 * distance(point), 0.25), 0.9)

    return Surrogate(
        "tuning, wide" if wide else "tuning",
        (
            Axis("lr", "float", low, high, log=True),
            Axis("r", "power", 2, 7),
            Axis("alpha", "ratio", -2, 2),
            Axis("warmup", "share", 0.0, 1.0),
            Axis("schedule", "choice", choices=("constant", "cosine", "linear", "step")),
        ),
        end,
        pace,
        start=2.0,
        noise=0.004,
        recipe={"lr": 1e-6 if wide else 1e-5, "r": 3, "alpha": 0, "warmup": 0.3, "schedule": "linear"},
        best=0.3,
    )


def _branin() -> Surrogate:
    def end(point: Point) -> float:
        x, y = float(point["x"]), float(point["y"])
        valley = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
        return valley + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10

    return Surrogate(
        "Branin",
        (Axis("x", "float", -5, 10), Axis("y", "float", 0, 15)),
        end,
        lambda point: 0.4 + 0.1 * math.sin(float(point["x"])),
        start=60.0,
        noise=0.3,
        recipe={"x": 2.0, "y": 8.0},
        best=0.397887,
    )


HARTMANN_A = [
    [10, 3, 17, 3.5, 1.7, 8],
    [0.05, 10, 17, 0.1, 8, 14],
    [3, 3.5, 1.7, 10, 17, 8],
    [17, 8, 0.05, 10, 0.1, 14],
]
HARTMANN_P = [
    [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
    [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
    [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
    [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
]


def _hartmann() -> Surrogate:
    def end(point: Point) -> float:
        place = [float(point[f"x{axis}"]) for axis in range(6)]
        total = 0.0
        for weight, widths, peak in zip((1.0, 1.2, 3.0, 3.2), HARTMANN_A, HARTMANN_P, strict=True):
            total -= weight * math.exp(
                -sum(width * (x - at) ** 2 for width, x, at in zip(widths, place, peak, strict=True))
            )
        return total

    return Surrogate(
        "Hartmann 6",
        tuple(Axis(f"x{axis}", "float", 0.0, 1.0) for axis in range(6)),
        end,
        lambda point: 0.3 + 0.3 * float(point["x0"]),
        start=1.0,
        noise=0.02,
        recipe={f"x{axis}": 0.5 for axis in range(6)},
        best=-3.32237,
    )


SURROGATES = (_tuning(wide=False), _tuning(wide=True), _branin(), _hartmann())
