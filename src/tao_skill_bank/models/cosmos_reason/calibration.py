"""How well the confidence of answers agrees with how often they are right."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence is above `low` and at most `high` (the first bin includes 0)."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """Reliability: `ece` is the mean over answers of |accuracy - confidence| of their bin."""

    ece: float
    bins: tuple[Bin, ...]


def probabilities(log_likelihoods: Mapping[str, float]) -> dict[str, float]:
    """Return the probability of each choice given that one of them is the answer."""
    highest = max(log_likelihoods.values())
    weights = {choice: math.exp(value - highest) for choice, value in log_likelihoods.items()}
    total = sum(weights.values())
    return {choice: weight / total for choice, weight in weights.items()}


def measure(confidences: Sequence[float], are_right: Sequence[bool]) -> Calibration:
    """Return the expected calibration error with equal bins of confidence (Guo et al. 2017), and the bins."""
    members: list[list[int]] = [[] for _ in range(BINS)]
    for position, confidence in enumerate(confidences):
        members[min(BINS - 1, max(0, math.ceil(confidence * BINS) - 1))].append(position)
    bins = tuple(_bin(number, own, confidences, are_right) for number, own in enumerate(members))
    gaps = sum(each.count * abs((each.accuracy or 0.0) - (each.confidence or 0.0)) for each in bins)
    return Calibration(gaps / len(confidences), bins)


def _bin(number: int, own: Sequence[int], confidences: Sequence[float], are_right: Sequence[bool]) -> Bin:
    low, high, count = number / BINS, (number + 1) / BINS, len(own)
    if not count:
        return Bin(low, high, 0, None, None)
    confidence = sum(confidences[position] for position in own) / count
    return Bin(low, high, count, confidence, sum(are_right[position] for position in own) / count)
