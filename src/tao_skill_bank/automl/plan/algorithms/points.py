"""Points of a space: which ones there are, which have been tried, and random ones."""

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping

from tao_skill_bank.automl.plan.algorithms._setup import Dimension, Space
from tao_skill_bank.automl.plan.history import Coordinate, Trial

Point = dict[str, Coordinate]
Key = tuple[tuple[type, Coordinate | None], ...]

REAL = ("float", "share")
ENUMERABLE = 100_000  # points that may be listed to find the last untried ones of a finite space


def key(space: Space, coordinates: Mapping[str, Coordinate]) -> Key:
    """Return a key that is the same for equal points; True and 1 are not equal."""
    parts = []
    for dimension in space.dimensions:
        coordinate = coordinates.get(dimension.name)
        if dimension.kind in REAL and coordinate is not None:
            coordinate = float(coordinate)
        parts.append((type(coordinate), coordinate))
    return tuple(parts)


def tried(space: Space, trials: Iterable[Trial]) -> set[Key]:
    return {key(space, trial.coordinates) for trial in trials}


def bounds(dimension: Dimension) -> tuple[float, float]:
    """Return the bounds of a numeric dimension."""
    assert dimension.low is not None
    assert dimension.high is not None
    return dimension.low, dimension.high


def options(dimension: Dimension) -> list[tuple[Coordinate, float]]:
    """Return the choices that may be proposed, each with its weight: a weight of 0 forbids one."""
    weights = dimension.weights or [1.0] * len(dimension.choices)
    return [(choice, weight) for choice, weight in zip(dimension.choices, weights, strict=True) if weight > 0]


def count(dimension: Dimension) -> float:
    """Return how many coordinates there are: infinity for a range of real numbers."""
    if dimension.kind == "choice":
        return len(options(dimension))
    low, high = bounds(dimension)
    if low == high:
        return 1
    return math.inf if dimension.kind in REAL else int(high) - int(low) + 1


def size(space: Space) -> float:
    """Return how many points there are."""
    return math.prod(count(dimension) for dimension in space.dimensions)


def random_point(space: Space, rng: random.Random) -> Point:
    """Draw a point: uniform (in the logarithm where the dimension says so), and choices by their weights."""
    return {dimension.name: _random_coordinate(dimension, rng) for dimension in space.dimensions}


def _random_coordinate(dimension: Dimension, rng: random.Random) -> Coordinate:
    if dimension.kind == "choice":
        choices, weights = zip(*options(dimension), strict=True)
        chosen: Coordinate = rng.choices(choices, weights)[0]
        return chosen
    low, high = bounds(dimension)
    whole = dimension.kind not in REAL
    if whole and not dimension.log:
        return rng.randint(int(low), int(high))
    margin = 0.5 if whole else 0.0
    return from_unit(dimension, rng.random(), margin)


def from_unit(dimension: Dimension, fraction: float, margin: float = 0.0) -> float | int:
    """Return the number at a fraction of a numeric dimension's range, in its logarithm where it has one."""
    low, high = bounds(dimension)
    start, end = low - margin, high + margin
    value = start * (end / start) ** fraction if dimension.log else start + (end - start) * fraction
    value = min(max(value, low), high)
    return value if dimension.kind in REAL else min(max(round(value), int(low)), int(high))


def to_unit(dimension: Dimension, value: float) -> float:
    """Return where a number lies in a numeric dimension's range, from 0 to 1."""
    low, high = bounds(dimension)
    value = min(max(value, low), high)
    if low == high:
        return 0.0
    if dimension.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def untried(space: Space, taken: set[Key], rng: random.Random) -> Point | None:
    """Return a random point that has not been tried, None if there is none."""
    for _ in range(100):
        point = random_point(space, rng)
        if key(space, point) not in taken:
            return point
    if size(space) > ENUMERABLE:
        return random_point(space, rng)
    left = [point for point in every_point(space) if key(space, point) not in taken]
    return rng.choice(left) if left else None


def every_point(space: Space) -> Iterator[Point]:
    """Yield all points of a finite space."""
    names = [dimension.name for dimension in space.dimensions]
    for coordinates in itertools.product(*(_every_coordinate(dimension) for dimension in space.dimensions)):
        yield dict(zip(names, coordinates, strict=True))


def _every_coordinate(dimension: Dimension) -> list[Coordinate]:
    if dimension.kind == "choice":
        return [choice for choice, _ in options(dimension)]
    low, high = bounds(dimension)
    return [low] if dimension.kind in REAL else list(range(int(low), int(high) + 1))
