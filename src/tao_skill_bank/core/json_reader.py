"""Reads JSON that may come from anybody: what cannot be read, for whatever reason, is a ValueError."""

import json
import re
from pathlib import Path
from typing import Any

from tao_skill_bank.core import regular_files
from tao_skill_bank.core.limits import MAX_DEPTH, TOO_DEEP, is_too_deep
from tao_skill_bank.errors import BlockedError

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
LONE = re.compile("[\ud800-\udfff]")


def loads(data: str | bytes) -> Any:
    """Return the value of a JSON document; half a character, which no file can hold, becomes U+FFFD.

    Raises:
        ValueError: it is not JSON or not UTF-8, is nested too deep, or has a number with too many digits.

    """
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and is_too_deep(value):
        raise ValueError(TOO_DEEP)
    return _whole(value) if SURROGATE.search(text) or LONE.search(text) else value


def read_object(path: Path, fix: str) -> dict[str, Any]:
    """Return the object that a JSON file holds. Raises BlockedError, with `fix`, where it holds none."""
    try:
        value, reason = loads(regular_files.read_bytes(path)), "it is not an object"
    except (OSError, ValueError) as error:
        value, reason = None, str(error).rstrip(".")
    if not isinstance(value, dict):
        raise BlockedError.of("unreadable_json", f"{path} cannot be read as JSON: {reason}.", fix, path=str(path))
    return value


def _whole(value: Any) -> Any:
    """Return a value whose texts hold no lone surrogate."""
    if isinstance(value, str):
        return LONE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {_whole(key): _whole(item) for key, item in value.items()} if isinstance(value, dict) else value
