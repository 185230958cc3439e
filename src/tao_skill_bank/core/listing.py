"""Lists items in a sentence: the first ones, and how many more there are."""

from collections.abc import Sequence
from typing import Any

MAX_LISTED = 20


def listed(items: Sequence[Any], total: int | None = None) -> str:
    """Return the first items as text, and how many more there are."""
    total = len(items) if total is None else total
    shown = items[:MAX_LISTED]
    rest = total - len(shown)
    return ", ".join(str(item) for item in shown) + (f" and {rest} more" if rest > 0 else "")
