"""Numbers from anybody: a request is refused for one that no run can use, and a file is read as if it were not there.

A run can use finite numbers that are no larger than every part of it can count.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tao_skill_bank.errors import Problem

LARGEST = 2**32 - 1  # the largest seed of numpy; a timeout of more seconds overflows the clock
MAX_SHOWN_BITS = 100  # longer integers are described by their number of digits


def problems(value: Any, path: str = "") -> Iterator[Problem]:
    """Yield every number in nested mappings and lists that is not finite or beyond `LARGEST`, by its dotted path."""
    for where, number in _numbers(value, path):
        if not is_finite(number):
            message = f"{where} is {number}; a number must be finite."
            yield Problem("number_not_finite", message, f"Set {where} to a finite number.", where, str(number))
        elif abs(number) > LARGEST:
            message = f"{where} is {_shown(number)}; a number is at most {LARGEST:,} in size."
            fix = f"Set {where} to a number from {-LARGEST} to {LARGEST}."
            yield Problem("number_too_large", message, fix, where, _shown(number), f"at most {LARGEST}")


def first_not_finite(value: Any) -> str | None:
    """Return the dotted path of the first number that is not finite, or None."""
    return next((where for where, number in _numbers(value, "") if not is_finite(number)), None)


def finite(value: Any) -> float | None:
    """Return a JSON value as a finite number; None for anything else, booleans and integers beyond floats included."""
    if type(value) is float:  # nearly always, in files of a million numbers
        return value if math.isfinite(value) else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def count(value: Any) -> int | None:
    """Return a JSON value as a whole number of at least 0, with all its digits; None for anything else."""
    found = finite(value)
    return int(value) if found is not None and found >= 0 and found.is_integer() else None


def is_finite(number: float) -> bool:
    """Return whether a number is finite; an integer of any size is."""
    return isinstance(number, int) or math.isfinite(number)


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _numbers(child, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from _numbers(child, f"{path}.{index}" if path else str(index))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def _shown(number: float) -> str:
    if isinstance(number, int) and number.bit_length() > MAX_SHOWN_BITS:
        return f"an integer of about {round(number.bit_length() * math.log10(2))} digits"
    return str(number)
