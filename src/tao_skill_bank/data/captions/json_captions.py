"""Finds the caption in a JSON value: a string, or an object that holds one."""

import json
from typing import Any

# The last three come from captioners that write several lengths.
KEYS = ("prompt", "caption", "text", "description", "instruction", "long", "medium", "short")


def parse(text: str) -> Any:
    """Return the value of a JSON text, whose strings are Unicode. Raises ValueError."""
    try:
        value = json.loads(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"invalid JSON: {error.msg}") from None
    except UnicodeEncodeError:
        raise ValueError("it has half of a surrogate pair, which is not text") from None
    except RecursionError:
        raise ValueError("invalid JSON: nested too deeply") from None
    return value


def caption_in(value: Any, key: str = "") -> str:
    """Return the caption that a JSON value holds.

    A string is the caption. For an object, the first known key is used, else its only key; the value may be
    another object: {"caption": {"long": TEXT}}, {"captioner-7b": {"long": TEXT, "short": TEXT}}.

    Raises:
        ValueError: there is no caption, or it is ambiguous.

    """
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or not value:
        raise ValueError("it has no text")
    names = [name for name in (key, *KEYS) if name in value] or (list(value) if len(value) == 1 else [])
    if not names:
        raise ValueError(f"it has no known key: {', '.join(map(str, value))}")
    return caption_in(value[names[0]], key)
