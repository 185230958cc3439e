"""The numbers of a training, read once from metrics.jsonl: curves over its steps, and the newest value of each metric.

Memory: 16 bytes for each point of a curve, however long its lines are.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tao_skill_bank.contracts import contract
from tao_skill_bank.core import numbers

MAX_SETS_OF_NAMES = 64


@contract
class Curve:
    """A quantity over optimizer steps, without the values that are not finite numbers.

    `thinned_from` is the number of points of which these were kept, 0 where they are all.
    """

    steps: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    thinned_from: int = 0


class Series:
    """Points by step, in increasing order; a resumed run writes some steps again, and the later value wins."""

    def __init__(self) -> None:
        self.steps, self.values = array("d"), array("d")
        self._last = float("-inf")
        self._earlier = array("d"), array("d")  # points of before a resume, at steps that may be written again
        self._position = 0  # in `_earlier`: what is before it is in place

    def add(self, step: float, value: float) -> None:
        if step <= self._last:
            self._rewind(step)
        if self._earlier[0]:
            self._restore(step)
        self._last = step
        self.steps.append(step)
        self.values.append(value)

    def end(self) -> None:
        """Put the last points of before a resume in place."""
        self._restore(float("inf"))

    def curve(self, max_points: int = 0) -> Curve:
        """Return the curve; of more than `max_points` the ends, and the lowest and highest of each of equal parts."""
        length = len(self.steps)
        if not max_points or length <= max_points:
            return Curve(tuple(self.steps), tuple(self.values))
        kept = _kept(self.values, max_points)
        return Curve(tuple(self.steps[at] for at in kept), tuple(self.values[at] for at in kept), length)

    def _rewind(self, step: float) -> None:
        self._restore(float("inf"))
        at = bisect_left(self.steps, step)
        self._earlier, self._position = (self.steps[at:], self.values[at:]), 0
        del self.steps[at:], self.values[at:]

    def _restore(self, step: float) -> None:
        """Put earlier points before `step` in place, and drop one that is written again."""
        steps, values = self._earlier
        end = bisect_left(steps, step, self._position)
        self.steps += steps[self._position : end]
        self.values += values[self._position : end]
        self._position = end + 1 if end < len(steps) and steps[end] == step else end
        if self._position >= len(steps):
            self._earlier, self._position = (array("d"), array("d")), 0


@dataclass
class MetricHistory:
    """The curves by key, those without a point left out, and the newest value of every metric, finite or not."""

    series: dict[str, Series] = field(default_factory=dict)
    newest: dict[str, Any] = field(default_factory=dict)


def read(lines: Iterable[Mapping[str, Any]], keys: Iterable[str]) -> MetricHistory:
    """Return the curves of `keys`, and what else the lines of metrics.jsonl hold."""
    series = {key: Series() for key in keys}
    newest: dict[tuple[str, ...], Mapping[str, Any]] = {}  # the last line of each set of names, oldest first
    values: dict[str, Any] = {}
    names: tuple[str, ...] = ()
    for line in lines:
        if (found := tuple(line)) != names:
            names = found
            newest.pop(names, None)
            if len(newest) > MAX_SETS_OF_NAMES:
                values |= _merged(newest)
                newest.clear()
        newest[names] = line
        if (step := numbers.finite(line.get("step"))) is not None:
            for key, points in series.items():
                if key in line and (value := numbers.finite(line[key])) is not None:
                    points.add(step, value)
    for points in series.values():
        points.end()
    values |= _merged(newest)
    return MetricHistory({key: points for key, points in series.items() if points.steps}, values)


def _merged(newest: Mapping[tuple[str, ...], Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for line in newest.values() for name, value in line.items() if "/" in name}


def _kept(values: Sequence[float], max_points: int) -> list[int]:
    """Return the positions of the points that a thinned curve keeps."""
    length, num_parts = len(values), max(1, (max_points - 2) // 2)
    kept = {0, length - 1}
    for part in range(num_parts):
        start = length * part // num_parts
        held = values[start : length * (part + 1) // num_parts]
        kept |= {start + held.index(min(held)), start + held.index(max(held))}
    return sorted(kept)
