"""What a line of status.jsonl says: fields of a wrong type are left out, so that every reader gets the types below.

state, message, phase: text. step, total: whole numbers. eta_seconds: a number. diagnosis: texts by name. time: either.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from tao_skill_bank.core import numbers


def plain(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line with its own fields in their types, null where they are, and any other field as it is."""
    if _is_plain(line):
        return line if isinstance(line, dict) else dict(line)
    found = {name: FORMS[name](value) if name in FORMS else value for name, value in line.items()}
    return {name: value for name, value in found.items() if value is not None or line[name] is None}


def _is_plain(line: Mapping[str, Any]) -> bool:
    """Return whether a line is surely in its types, as nearly all of a million are: a third of the time of asking."""
    for name, value in line.items():
        kind = TYPES.get(name)
        if kind is not None and value is not None and type(value) is not kind:
            return False
        if kind is int and value is not None and not 0 <= value <= MAX_COUNT:
            return False
        if kind is float and value is not None and not math.isfinite(value):
            return False
    return True


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _moment(value: Any) -> str | float | None:
    return value if isinstance(value, str) else numbers.finite(value)


def _diagnosis(value: Any) -> dict[str, str] | None:
    return {name: text for name, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else None


MAX_COUNT = 2**53
# The types that trainers write; another one is looked at by FORMS.
TYPES: dict[str, type] = {
    "time": str,
    "state": str,
    "message": str,
    "step": int,
    "total": int,
    "eta_seconds": float,
    "diagnosis": type(None),
}
FORMS: dict[str, Callable[[Any], Any]] = {
    "time": _moment,
    "state": _text,
    "message": _text,
    "phase": _text,
    "step": numbers.count,
    "total": numbers.count,
    "eta_seconds": numbers.finite,
    "diagnosis": _diagnosis,
}
