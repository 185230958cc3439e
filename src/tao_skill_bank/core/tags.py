"""Finds what stands between a tag and its end, such as <answer>...</answer>, in one pass over a text of any length."""

import re
from collections.abc import Iterator


def inside(text: str, name: str) -> list[str]:
    """Return the texts between each first tag of this name and the next end of it, in any letter case."""
    return [text[begin:end] for _, begin, end, _ in _spans(text, name)]


def without(text: str, name: str) -> str:
    """Return a text without its tags of this name that have an end, and without what is between."""
    kept, position = [], 0
    for start, _, _, stop in _spans(text, name):
        kept.append(text[position:start])
        position = stop
    return "".join((*kept, text[position:]))


def _spans(text: str, name: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield the places where the tag starts and stops and where its end does."""
    opened: re.Match[str] | None = None
    for mark in re.finditer(rf"<(/?){name}>", text, re.IGNORECASE):
        if not mark[1]:
            opened = opened or mark
        elif opened is not None:
            yield opened.start(), opened.end(), mark.start(), mark.end()
            opened = None
