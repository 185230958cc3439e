"""Finds the JSON object in what a language model replied: in a fence, after its thoughts or between sentences."""

import json
import re
from typing import Any

from tao_skill_bank.core import json_reader, tags

TRAILING_COMMA = re.compile(r",(?=[ \t\r\n]{0,200}[}\]])")
MAX_CHARACTERS = 1_000_000
MAX_STARTS = 200  # braces that are tried


def find(text: str, key: str) -> dict[str, Any]:
    """Return the last object of a reply that has a key; a comma before a closing bracket is forgiven.

    Raises:
        ValueError: there is none; the message says what is there instead.

    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"the reply has more than {MAX_CHARACTERS:,} characters")
    said = tags.without(text, "think").rpartition("</think>")[2]  # some servers leave out the opening tag
    if "<think>" in said:
        raise ValueError("the reply ends before its thoughts do")
    found = _with(key, said) or _with(key, TRAILING_COMMA.sub("", said))
    if not found:
        start = " ".join(said.split())[:120]
        raise ValueError(f"the reply has no JSON object with '{key}': {start or 'it is empty'}")
    return found[-1]


def _with(key: str, text: str) -> list[dict[str, Any]]:
    return [each for each in _objects(text) if key in each]


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the outermost objects of a text, in order."""
    decoder, found, start = json.JSONDecoder(), list[dict[str, Any]](), text.find("{")
    for _ in range(MAX_STARTS):
        if start < 0:
            break
        try:
            _, end = decoder.raw_decode(text, start)
            value = json_reader.loads(text[start:end])
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        found += [value] if isinstance(value, dict) else []
        start = text.find("{", end)
    return found
