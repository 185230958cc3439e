"""Counts of values in few bins, for people to look at."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

NUM_BINS = 10
MAX_CATEGORIES = 20


@dataclass(frozen=True)
class Bar:
    """The number of values in one bin, or of one kind."""

    label: str
    count: int


@dataclass(frozen=True)
class Histogram:
    """How values are distributed.

    Attributes:
        bars: in the order of the values, or the most frequent first.
        missing: why there are no bars, if so.
        least, most: of numbers; None of other values.

    """

    title: str
    unit: str = ""
    bars: tuple[Bar, ...] = ()
    missing: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def count(self) -> int:
        return sum(bar.count for bar in self.bars)

    @property
    def largest(self) -> int:
        """The count of the longest bar."""
        return max((bar.count for bar in self.bars), default=0)


def of_numbers(title: str, unit: str, values: Sequence[float], missing: str = "there are none") -> Histogram:
    """Return a histogram of about `NUM_BINS` bins with round limits; few different values get a bar each."""
    if not values:
        return Histogram(title, unit, missing=missing)
    least, most = min(values), max(values)
    exact = Counter(round(value, 3) for value in values)
    if len(exact) <= NUM_BINS:
        bars = tuple(Bar(f"{value:g}", count) for value, count in sorted(exact.items()))
        return Histogram(title, unit, bars, least=least, most=most)
    width = _round_width((most - least) / NUM_BINS)
    first = math.floor(least / width)
    counts = Counter(math.floor(value / width) for value in values)
    bins = range(first, math.floor(most / width) + 1)
    bars = tuple(Bar(f"{number * width:g} to {(number + 1) * width:g}", counts[number]) for number in bins)
    return Histogram(title, unit, bars, least=least, most=most)


def of_names(title: str, names: Iterable[str] | Mapping[str, int], missing: str = "there are none") -> Histogram:
    """Return the most frequent names and, as the last bar, how many others there are."""
    common = Counter(names).most_common()
    bars = [Bar(name, count) for name, count in common[:MAX_CATEGORIES]]
    if rest := common[MAX_CATEGORIES:]:
        bars.append(Bar(f"{len(rest)} others", sum(count for _, count in rest)))
    return Histogram(title, "", tuple(bars), missing="" if bars else missing)


def _round_width(width: float) -> float:
    """Return the next of 1, 2, 5, 10, ... times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= width)
