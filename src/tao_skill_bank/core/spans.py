"""Times that are known to a range only."""

import math
from dataclasses import dataclass

MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass(frozen=True)
class Span:
    """Seconds between two bounds, both above 0."""

    low: float
    high: float

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.high + other.high)

    def __mul__(self, factor: float) -> "Span":
        return Span(self.low * factor, self.high * factor)

    @property
    def middle(self) -> float:
        """Return the geometric mean: as many times above the lower bound as below the upper one."""
        return math.sqrt(self.low * self.high)

    @property
    def rounded(self) -> list[float]:
        """Return both bounds with two digits."""
        return [float(f"{self.low:.2g}"), float(f"{self.high:.2g}")]

    def text(self) -> str:
        """Return both bounds as people read them."""
        low, high = shown(self.low), shown(self.high)
        return low if low == high else f"{low} to {high}"


def shown(seconds: float) -> str:
    """Return a time with two digits and its unit."""
    for unit, length in (("days", 2 * DAY), ("h", 2 * HOUR), ("min", 2 * MINUTE)):
        if seconds >= length:
            divisor = {"days": DAY, "h": HOUR, "min": MINUTE}[unit]
            return f"{float(f'{seconds / divisor:.2g}'):g} {unit}"
    return f"{float(f'{seconds:.2g}'):g} s"
