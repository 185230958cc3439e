"""Our search algorithms beside plain Optuna on surrogate trainings, with the same budget of epochs.

    python benchmarks/automl_surrogates.py [--seeds 12] [--trainings 30] [--only NAME ...] [--plot PNG] [--json FILE]

Plain Optuna is `study.optimize` with its own sampler and pruner, the recipe enqueued. What counts is the regret: how
far the true loss of the checkpoint with the best (noisy) score is from the function's optimum when the budget is spent.
The regrets of a function are divided by random search's mean there, so that functions can be pooled. An algorithm is
worse than another where the bootstrap interval (95 %) of the paired differences lies above 0.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna

from support.surrogates import EPOCHS, ETA, SURROGATES, Search, Surrogate
from tao_skill_bank.automl.plan.algorithms import INFO, full
from tao_skill_bank.automl.plan.algorithms.gaussian import InProcess

Curve = list[float]

optuna.logging.set_verbosity(optuna.logging.ERROR)
samplers, pruners = optuna.samplers, optuna.pruners


def _halving() -> Any:
    return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA)


def _hyperband() -> Any:
    return pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=ETA)


PEERS: dict[str, tuple[str, Callable[[int], Any], Callable[[], Any]]] = {
    "random": ("RandomSampler", lambda seed: samplers.RandomSampler(seed=seed), pruners.NopPruner),
    "bayesian": (
        "TPESampler(multivariate)",
        lambda seed: samplers.TPESampler(seed=seed, multivariate=True),
        pruners.NopPruner,
    ),
    "tpe": ("TPESampler", lambda seed: samplers.TPESampler(seed=seed, multivariate=False), pruners.NopPruner),
    "cmaes": (
        "CmaEsSampler",
        lambda seed: samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
        pruners.NopPruner,
    ),
    "bfbo": (
        "GPSampler",
        lambda seed: samplers.GPSampler(seed=seed, warn_independent_sampling=False),
        pruners.NopPruner,
    ),
    "asha": ("RandomSampler + SuccessiveHalvingPruner", lambda seed: samplers.RandomSampler(seed=seed), _halving),
    "hyperband": ("RandomSampler + HyperbandPruner", lambda seed: samplers.RandomSampler(seed=seed), _hyperband),
    "hyperband_es": ("RandomSampler + HyperbandPruner", lambda seed: samplers.RandomSampler(seed=seed), _hyperband),
    "bohb": (
        "TPESampler(multivariate) + HyperbandPruner",
        lambda seed: samplers.TPESampler(seed=seed, multivariate=True),
        _hyperband,
    ),
}
"""What plain Optuna offers for the same purpose; it has no grid of our kind and no population based training."""


def optuna_search(name: str, surrogate: Surrogate, seed: int, budget: int) -> Curve:
    """Return what `Search.run` returns, of plain Optuna."""
    _, sampler, pruner = PEERS[name]
    best: list[tuple[float, float]] = []
    rng = random.Random(f"noise {seed}")

    def objective(trial: Any) -> float:
        point = {axis.name: _suggest(trial, axis) for axis in surrogate.dimensions}
        loss, lowest = surrogate.start, float("inf")
        for epoch in range(1, EPOCHS + 1):
            loss = surrogate.train(point, loss)
            score = surrogate.measure(loss, rng)
            lowest = min(lowest, score)
            best.append(min([*best[-1:], (score, loss)]))
            trial.report(lowest, epoch)
            if epoch < EPOCHS and trial.should_prune():
                raise optuna.TrialPruned
            if len(best) >= budget:
                trial.study.stop()
        return lowest

    study = optuna.create_study(study_name=f"{name} {seed}", sampler=sampler(seed), pruner=pruner())
    study.enqueue_trial(dict(surrogate.recipe))
    study.optimize(objective, n_trials=budget)
    return [loss for _, loss in best[:budget]]


def _suggest(trial: Any, axis: Any) -> Any:
    if axis.kind == "choice":
        return trial.suggest_categorical(axis.name, axis.choices)
    if axis.kind in ("float", "share"):
        return trial.suggest_float(axis.name, axis.low, axis.high, log=axis.log)
    return trial.suggest_int(axis.name, axis.low, axis.high)


@dataclass(frozen=True)
class Row:
    """One algorithm against its peer and against random search; regrets in units of random search's mean."""

    name: str
    regrets: dict[str, float]
    peer: str
    peer_regrets: dict[str, float]
    against_peer: tuple[float, float, float] | None
    against_random: tuple[float, float, float]
    epochs_to_random: float | None
    seconds: float

    @property
    def verdict(self) -> str:
        if self.against_random[1] > 0:
            return "worse than random"
        if self.against_peer is not None and self.against_peer[1] > 0:
            return "worse than Optuna"
        return "ok"


GAUSSIAN_SEEDS, GAUSSIAN_SHARE = 10, 0.5  # a Gaussian process takes 0.1 to 0.3 s a proposal: less of everything


def functions(name: str) -> tuple[Surrogate, ...]:
    """Return the surrogates an algorithm is measured on: a grid needs few parameters, a Gaussian process its time."""
    if name == "grid":
        return tuple(surrogate for surrogate in SURROGATES if len(surrogate.dimensions) == 2)
    if name == "bfbo":
        return tuple(surrogate for surrogate in SURROGATES if surrogate.name in ("tuning", "Branin"))
    return SURROGATES


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of differences and its bootstrap interval of 95 %."""
    rng = random.Random(0)
    means = sorted(statistics.fmean(rng.choices(differences, k=len(differences))) for _ in range(2000))
    return statistics.fmean(differences), means[50], means[1949]


class Benchmark:
    """Runs searches once and compares them."""

    def __init__(self, seeds: int, budget: int) -> None:
        self.seeds, self.budget = seeds, budget
        self.curves: dict[tuple[str, str, str, int], Curve] = {}
        self.seconds: dict[tuple[str, str], float] = {}

    def curve(self, who: str, name: str, surrogate: Surrogate, seed: int) -> Curve:
        """Return the regret after every epoch of one search of ours (`ours`) or of plain Optuna (`optuna`)."""
        at = (who, name, surrogate.name, seed)
        if at not in self.curves:
            began = time.process_time()
            if who == "optuna":
                losses = optuna_search(name, surrogate, seed, self.epochs(name))
            else:
                gaussian = (lambda setup: full.FullTrainings(setup, InProcess())) if name == "bfbo" else None
                losses = Search(name, surrogate, seed, self.epochs(name), gaussian).run()
            self.seconds[who, name] = self.seconds.get((who, name), 0.0) + time.process_time() - began
            self.curves[at] = [loss - surrogate.best for loss in losses]
        return self.curves[at]

    def epochs(self, name: str) -> int:
        """Return the budget of an algorithm, in epochs."""
        return round(self.budget * GAUSSIAN_SHARE / EPOCHS) * EPOCHS if name == "bfbo" else self.budget

    def every(self, name: str) -> range:
        return range(min(self.seeds, GAUSSIAN_SEEDS) if name == "bfbo" else self.seeds)

    def randoms(self, surrogate: Surrogate, epochs: int) -> list[float]:
        """Return plain random search's regrets after as many epochs, one per seed."""
        return [self.curve("optuna", "random", surrogate, seed)[epochs - 1] for seed in self.every("random")]

    def relative(self, who: str, name: str, surrogate: Surrogate) -> list[float]:
        """Return the regrets at the end, one per seed, in units of random search's mean."""
        unit = statistics.fmean(self.randoms(surrogate, self.epochs(name)))
        return [self.curve(who, name, surrogate, seed)[-1] / unit for seed in self.every(name)]

    def row(self, name: str) -> Row:
        over = functions(name)
        ours = {surrogate.name: self.relative("ours", name, surrogate) for surrogate in over}
        peers = (
            {surrogate.name: self.relative("optuna", name, surrogate) for surrogate in over} if name in PEERS else {}
        )
        randoms = {}
        for surrogate in over:
            regrets = self.randoms(surrogate, self.epochs(name))
            unit = statistics.fmean(regrets)
            randoms[surrogate.name] = [regret / unit for regret in regrets[: len(self.every(name))]]
        return Row(
            name,
            {key: statistics.fmean(values) for key, values in ours.items()},
            PEERS[name][0] if name in PEERS else "",
            {key: statistics.fmean(values) for key, values in peers.items()},
            _paired(ours, peers) if peers else None,
            _paired(ours, randoms),
            self.epochs_to_random(name, over),
            self.seconds["ours", name] / len(over) / len(self.every(name)),
        )

    def epochs_to_random(self, name: str, over: Sequence[Surrogate]) -> float | None:
        """Return the mean share of the budget after which the mean curve is as good as random search at its end."""
        shares = []
        for surrogate in over:
            curves = [self.curve("ours", name, surrogate, seed) for seed in self.every(name)]
            goal = statistics.fmean(self.randoms(surrogate, self.epochs(name)))
            means = [statistics.fmean(values) for values in zip(*curves, strict=True)]
            reached = [epoch for epoch, mean in enumerate(means, start=1) if mean <= goal]
            if not reached:
                return None
            shares.append(reached[0] / len(means))
        return statistics.fmean(shares)


def _paired(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> tuple[float, float, float]:
    """Return the interval of the differences, each seed's averaged over the functions."""
    differences = [[left - right for left, right in zip(ours[name], theirs[name], strict=True)] for name in ours]
    return interval([statistics.fmean(values) for values in zip(*differences, strict=True)])


HEAD = (
    "| algorithm | " + " | ".join(surrogate.name for surrogate in SURROGATES) + " | against Optuna's | against random |"
    " budget for random's result | CPU s a search | |\n|---|" + "---|" * (len(SURROGATES) + 5)
)


def line(row: Row) -> str:
    cells = [
        f"{row.regrets[name]:.2f}" + (f" ({row.peer_regrets[name]:.2f})" if row.peer else "")
        if (name := surrogate.name) in row.regrets
        else "-"
        for surrogate in SURROGATES
    ]
    share = "-" if row.epochs_to_random is None else f"{row.epochs_to_random:.0%}"
    return (
        f"| {row.name} | {' | '.join(cells)} | {_shown(row.against_peer)} | {_shown(row.against_random)} |"
        f" {share} | {row.seconds:.2f} | {row.verdict} |"
    )


def _shown(found: tuple[float, float, float] | None) -> str:
    return "-" if found is None else f"{found[0]:+.2f} [{found[1]:+.2f}, {found[2]:+.2f}]"


def plot(benchmark: Benchmark, rows: Sequence[Row], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(SURROGATES), figsize=(4.2 * len(SURROGATES), 3.8), layout="constrained")
    colors = dict(zip([row.name for row in rows], plt.colormaps["tab20"].colors, strict=False))
    for surrogate, axis in zip(SURROGATES, axes, strict=True):
        for row in rows:
            if surrogate.name not in row.regrets:
                continue
            for who, style in (("ours", "-"), ("optuna", ":")):
                if who == "optuna" and not row.peer:
                    continue
                curves = [benchmark.curve(who, row.name, surrogate, seed) for seed in benchmark.every(row.name)]
                means = [statistics.fmean(values) for values in zip(*curves, strict=True)]
                label = row.name if who == "ours" else None
                axis.plot(range(1, len(means) + 1), means, style, color=colors[row.name], label=label, linewidth=1.2)
        axis.set(title=surrogate.name, xlabel="epochs trained", yscale="log")
    axes[0].set_ylabel("mean regret (dotted: plain Optuna)")
    handles, labels = axes[2].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(path, dpi=90)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--trainings", type=int, default=30, help="budget, in trainings of all epochs")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    began = time.perf_counter()
    measurable = ["grid", "pbt", *PEERS]
    names = [name for name, info in INFO.items() if not info.refused and name in measurable]
    benchmark = Benchmark(arguments.seeds, arguments.trainings * EPOCHS)
    print(HEAD)
    rows = []
    for name in names:
        if not arguments.only or name in arguments.only:
            rows.append(benchmark.row(name))
            print(line(rows[-1]), flush=True)
    print(
        f"\n{arguments.seeds} seeds, {arguments.trainings * EPOCHS} epochs, {time.perf_counter() - began:.0f} s, "
        f"{time.process_time():.0f} s of CPU"
    )
    if arguments.plot is not None:
        plot(benchmark, rows, arguments.plot)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([{**asdict(row), "verdict": row.verdict} for row in rows], indent=2))
    return int(any(row.verdict.startswith("worse") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
