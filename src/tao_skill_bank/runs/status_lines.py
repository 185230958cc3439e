"""What a line of status.jsonl says: fields of a wrong type are left out, so that every reader gets the types below.

state, message: text. step, total: whole numbers. eta_seconds: a number. diagnosis: texts by name. time: either.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tao_skill_bank.core import numbers


def plain(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line with its own fields in their types, null where they are, and any other field as it is."""
    found = {name: FORMS[name](value) if name in FORMS else value for name, value in line.items()}
    return {name: value for name, value in found.items() if value is not None or line[name] is None}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _moment(value: Any) -> str | float | None:
    return value if isinstance(value, str) else numbers.finite(value)


def _diagnosis(value: Any) -> dict[str, str] | None:
    return {name: text for name, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else None


FORMS: dict[str, Callable[[Any], Any]] = {
    "time": _moment,
    "state": _text,
    "message": _text,
    "step": numbers.count,
    "total": numbers.count,
    "eta_seconds": numbers.finite,
    "diagnosis": _diagnosis,
}
