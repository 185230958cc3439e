"""Numbers of documents that come from anybody: only finite ones that fit a float count as numbers."""

import math
from typing import Any


def number(value: Any) -> float | None:
    """Return a JSON value as a finite number; None for anything else, booleans included."""
    if type(value) is float:  # nearly always, in files of a million numbers
        return value if math.isfinite(value) else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond every float
        return None


def count(value: Any) -> int | None:
    """Return a JSON value as a whole number of at least 0; None for anything else."""
    found = number(value)
    return int(found) if found is not None and found >= 0 else None
