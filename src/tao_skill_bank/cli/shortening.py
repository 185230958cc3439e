"""Values made to fit a number of bytes of JSON, and documents written one fact to a line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

ELLIPSIS = "..."
SHOWN_ITEMS = 3


def size(value: Any) -> int:
    """Return the bytes of a value as JSON on one line."""
    return len(line(value).encode("utf-8", "backslashreplace"))


def text(value: str, most: int) -> str:
    """Return a text, or its beginning and an ellipsis, of at most `most` bytes as JSON, quotes included."""
    if len(value) <= most and size(value) <= most:
        return value
    start = value[: max(0, most - len(ELLIPSIS))]
    while start and (excess := size(start + ELLIPSIS) - most) > 0:
        start = start[: -max(1, excess // 12)]  # a character takes at most 12 bytes, as two escapes
    return start + ELLIPSIS


def any_value(value: Any, most: int) -> Any:
    """Return a value of at most `most` bytes: whole, or its first items, or the beginning of its JSON as a text."""
    if isinstance(value, str):
        return text(value, most)
    if size(value) <= most:
        return value
    fewer = _fewer(value, most)
    if isinstance(fewer, str):
        return text(fewer, most)
    return fewer if size(fewer) <= most else text(line(fewer), most)


def document(value: Mapping[str, Any]) -> str:
    """Return a JSON object with each of its fields on a line, and each item of a list or an object in it."""
    fields = [f"  {line(key)}: {_field(field)}" for key, field in value.items()]
    return "{\n" + ",\n".join(fields) + "\n}"


def _fewer(value: Any, most: int) -> Any:
    """Return the first items of a list or an object and how many more there are, or its JSON where keys are long."""
    each = most // (SHOWN_ITEMS + 1)
    if isinstance(value, Mapping):
        if any(size(str(key)) > each for key in list(value)[:SHOWN_ITEMS]):  # cut, two keys may be one
            return line(value)
        first = {str(key): any_value(item, each) for key, item in list(value.items())[:SHOWN_ITEMS]}
        return first | ({ELLIPSIS: f"{len(value) - SHOWN_ITEMS} more"} if len(value) > SHOWN_ITEMS else {})
    if isinstance(value, Sequence):
        rest = [f"{ELLIPSIS}{len(value) - SHOWN_ITEMS} more"] if len(value) > SHOWN_ITEMS else []
        return [*(any_value(item, each) for item in value[:SHOWN_ITEMS]), *rest]
    return value


def _field(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"    {line(item)}" for item in value) + "\n  ]"
    if isinstance(value, dict) and value:
        return "{\n" + ",\n".join(f"    {line(key)}: {line(item)}" for key, item in value.items()) + "\n  }"
    return line(value)


def line(value: Any) -> str:
    """Return a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, default=str)
