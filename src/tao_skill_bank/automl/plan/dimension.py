"""One parameter of a search: the coordinate that samplers see, and the value that a spec gets for it."""

import math
from typing import Any, Literal

from tao_skill_bank.automl.plan.history import Coordinate
from tao_skill_bank.contracts import contract

Kind = Literal["float", "int", "power", "choice", "share", "ratio"]
DIGITS = 9  # logarithms that are whole but for rounding errors count as whole


@contract
class Dimension:
    """A searched parameter.

    What a coordinate means, by kind:
        float, int: the value itself.
        power: the exponent e; the value is 2**e.
        choice: the value itself, one of `choices`.
        share: how far the value lies from `minimum` to half of the value of `of`, 0 to 1; never above `maximum`.
        ratio: k; the value is `ratio` x 2**k x the value of `of`, within `minimum` and `maximum`.

    Attributes:
        name: spec path.
        low, high: bounds of the coordinate, both included; whole numbers for int, power and ratio.
        log: a sampler should look at the coordinate's logarithm (float and int).
        choices: values of a choice; numbers are in order.
        weights: how often each choice should be tried, as the schema says; empty for equally often.
        of: the parameter that the value depends on, for share and ratio.
        integer: values are whole numbers.
        power: values of a ratio are powers of two.
        ratio: of a ratio, value / value of `of` at k = 0.
        minimum, maximum: bounds of the value.

    """

    name: str
    kind: Kind
    low: int | float = 0
    high: int | float = 0
    log: bool = False
    choices: tuple[bool | int | float | str, ...] = ()
    weights: tuple[float, ...] = ()
    of: str | None = None
    integer: bool = False
    power: bool = False
    ratio: float = 1.0
    minimum: int | float | None = None
    maximum: int | float | None = None

    @property
    def size(self) -> int | None:
        """How many coordinates there are; None for a continuous dimension."""
        if self.kind == "choice":
            return len(self.choices)
        if self.kind in ("float", "share"):
            return 1 if self.low == self.high else None
        return int(self.high) - int(self.low) + 1

    def clip(self, coordinate: Coordinate) -> Coordinate:
        """Return the nearest coordinate of the dimension; an unknown choice becomes its first one."""
        if self.kind == "choice":
            return _nearest_choice(coordinate, self.choices)
        number = min(max(float(coordinate), self.low), self.high)
        return number if self.kind in ("float", "share") else round(number)

    def value(self, coordinate: Coordinate, of: Any = None) -> Any:
        """Return the spec's value at a coordinate, given the value of the parameter that it depends on."""
        at = self.clip(coordinate)
        if self.kind == "power":
            return 2 ** int(at)
        if self.kind == "share":
            low, high = self._share_bounds(of)
            exact = min(low + float(at) * (high - low), high)
            return math.floor(exact) if self.integer else exact
        return self._ratio_value(int(at), of) if self.kind == "ratio" else at

    def coordinate(self, value: Any, of: Any = None) -> Coordinate:
        """Return the coordinate whose value is nearest."""
        if self.kind == "choice":
            return self.clip(value)
        if not is_number(value):
            return self.low
        if self.kind == "power":
            return self.clip(_log2(value) if value > 0 else self.low)
        if self.kind == "share":
            low, high = self._share_bounds(of)
            return self.clip((value - low) / (high - low)) if high > low else 0.0
        if self.kind == "ratio":
            return self.clip(_log2(value / (of * self.ratio)) if value > 0 else self.low)
        return self.clip(value)

    def _share_bounds(self, of: float) -> tuple[float, float]:
        high = of / 2 if self.maximum is None else min(self.maximum, of / 2)
        return min(self.minimum or 0, high), high

    def _ratio_value(self, steps: int, of: float) -> float:
        value = of * self.ratio * 2.0**steps
        if self.power:  # rounded towards the request's own ratio, so that it stays within the limit
            towards = round if steps == 0 else math.floor if steps > 0 else math.ceil
            value = 2.0 ** towards(_log2(value))
        elif self.integer:
            value = round(value)
        value = value if self.maximum is None else min(value, self.maximum)
        value = value if self.minimum is None else max(value, self.minimum)
        return int(value) if self.integer else value


def is_number(value: Any) -> bool:
    """Return whether a value is a number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are the same: 1 is 1.0, and not true."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def lowest_exponent(number: float) -> int:
    """Return the exponent of the smallest power of two that is not below a positive number."""
    return math.ceil(_log2(number))


def highest_exponent(number: float) -> int:
    """Return the exponent of the largest power of two that is not above a positive number."""
    return math.floor(_log2(number))


def _log2(number: float) -> float:
    return round(math.log2(number), DIGITS)


def _nearest_choice(value: Any, choices: tuple[Coordinate, ...]) -> Coordinate:
    for choice in choices:
        if is_same(choice, value):
            return choice
    numbers = [choice for choice in choices if is_number(choice)]
    if is_number(value) and numbers:
        return min(numbers, key=lambda number: abs(number - value))
    return choices[0]
