"""Frame rates and times as people write them."""

import re
from typing import Any

from tao_skill_bank.core import numbers

RATE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(?:/([0-9]{1,12}(?:\.[0-9]{1,12})?))?")
SLOWEST, FASTEST = 1e-6, 1e6  # frames per second; beyond, times of frames overflow


def rate_of(value: Any) -> float | None:
    """Return frames per second of a number, or of text such as "29.97" or "30000/1001"; None for anything else."""
    number = _of_text(value) if isinstance(value, str) else numbers.finite(value)
    return number if number is not None and SLOWEST <= number <= FASTEST else None


def _of_text(text: str) -> float | None:
    match = RATE.fullmatch(text.strip())
    if match is None:
        return None
    over, under = float(match[1]), float(match[2] or 1)
    return over / under if under else None
