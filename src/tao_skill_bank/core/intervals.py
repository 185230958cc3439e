"""Bootstrap confidence intervals of headline figures: clips are drawn, with all of their questions.

Most clips are alike, because answers are right or wrong: how often each distinct one is drawn has a multinomial
distribution. This is the percentile bootstrap of scipy.stats.bootstrap (a test compares them), 20 times as fast.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

LEVEL = 0.95
RESAMPLES = 2000
BATCH_NUMBERS = 4_000_000  # of one batch of resamples: bounds the memory
METHOD = "percentile bootstrap over clips"


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float = LEVEL
    method: str = METHOD


@dataclass(frozen=True)
class Clips:
    """The clip of every answer, as 0, 1, ...: answers about one clip are not independent of each other."""

    numbers: tuple[int, ...]
    seed: int

    @classmethod
    def of(cls, names: Sequence[str], seed: int) -> "Clips":
        """Number the names; every answer without a name is its own clip."""
        known: dict[Any, int] = {}
        keys = (name or position for position, name in enumerate(names))
        return cls(tuple(known.setdefault(key, len(known)) for key in keys), seed)


def of_mean(values: Sequence[float], clips: Clips) -> Interval | None:
    """Return the interval of a mean over answers, None if all values are equal or there is one clip."""
    if len(set(values)) < 2:
        return None
    return _interval([(1.0, value) for value in values], clips, lambda sums: sums[..., 1] / sums[..., 0])


def of_classes(
    truths: Sequence[str], predictions: Sequence[str], labels: Sequence[str], clips: Clips
) -> dict[str, Interval]:
    """Return the intervals of accuracy, balanced accuracy and macro F1, without those that have no spread."""
    import numpy as np

    columns = [
        [1.0, float(truth == prediction)]
        + [float(truth == label) for label in labels]
        + [float(prediction == label) for label in labels]
        + [float(truth == prediction == label) for label in labels]
        for truth, prediction in zip(truths, predictions, strict=True)
    ]
    if len({tuple(row) for row in columns}) < 2:
        return {}
    count = len(labels)

    def parts(sums: Any) -> tuple[Any, Any, Any]:
        return sums[..., 2 : 2 + count], sums[..., 2 + count : 2 + 2 * count], sums[..., 2 + 2 * count :]

    def accuracy(sums: Any) -> Any:
        return sums[..., 1] / sums[..., 0]

    def balanced(sums: Any) -> Any:
        support, _, hits = parts(sums)
        return (hits / np.maximum(support, 1)).sum(-1) / (support > 0).sum(-1)

    def macro_f1(sums: Any) -> Any:
        support, named, hits = parts(sums)
        return (2 * hits / np.maximum(support + named, 1)).mean(-1)

    found = {"accuracy": accuracy, "balanced_accuracy": balanced, "macro_f1": macro_f1}
    intervals = {name: _interval(columns, clips, statistic) for name, statistic in found.items()}
    return {name: interval for name, interval in intervals.items() if interval and interval.low < interval.high}


def _interval(rows: Sequence[Sequence[float]], clips: Clips, statistic: Callable[[Any], Any]) -> Interval | None:
    """Resample clips; `statistic` gets the sums of the rows, shape (..., columns)."""
    import numpy as np

    total = max(clips.numbers, default=-1) + 1
    if total < 2:
        return None
    sums = np.zeros((total, len(rows[0])))
    np.add.at(sums, list(clips.numbers), np.asarray(rows, dtype=float))
    distinct, counts = np.unique(sums, axis=0, return_counts=True)
    generator = np.random.default_rng(clips.seed)
    batch = max(1, BATCH_NUMBERS // len(distinct))
    sizes = [min(batch, RESAMPLES - start) for start in range(0, RESAMPLES, batch)]
    drawn = [statistic(generator.multinomial(total, counts / total, size=size) @ distinct) for size in sizes]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return Interval(float(low), float(high))
