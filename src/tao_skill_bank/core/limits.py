"""Limits of documents that come from anybody, JSON and YAML alike: depth, size of one item, digits of a number."""

from typing import Any

MAX_DEPTH = 100
MAX_CHARACTERS = 1 << 24  # of one item of a list, such as one record
MAX_DIGITS = 4300  # of an integer; Python's own limit, since converting takes quadratic time
MAX_BITS = 14_285  # of an integer with as many digits

TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"
TOO_LONG = f"it has more than {MAX_CHARACTERS:,} characters"
TOO_MANY_DIGITS = f"it has a number of more than {MAX_DIGITS} digits"


def is_too_deep(value: Any, limit: int = MAX_DEPTH) -> bool:
    """Return whether lists and mappings are nested more than `limit` levels deep."""
    level = [value]
    for _ in range(limit + 1):
        level = [each for item in level if isinstance(item, (dict, list)) for each in _items(item)]
        if not level:
            return False
    return True


def is_digits_error(error: Exception) -> bool:
    """Return whether an error is Python's refusal of an integer with more than MAX_DIGITS digits."""
    return "integer string conversion" in str(error)


def _items(item: Any) -> Any:
    return item.values() if isinstance(item, dict) else item
