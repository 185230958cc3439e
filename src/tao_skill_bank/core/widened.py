"""Exact patterns of `re` over text, widened into patterns of RE2 over bytes that match on the same lines, and more.

Assertions are dropped, what may be empty at either end is cut, and where an exact pattern accepts some character
outside ASCII, any bytes above 0x7F do. Nothing matches a line end: the exact patterns are used on single lines. `$` is
kept in patterns with the flag MULTILINE only, as others may look at a part of a line.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from re import _parser  # type: ignore[attr-defined]  # the syntax tree of `re`; `sre_parse` is deprecated
from typing import Any

HIGH = r"\x80-\xff"
ASCII = frozenset(range(128))
WORD = frozenset(code for code in ASCII if chr(code).isalnum() or chr(code) == "_")
SETS = {
    "WORD": WORD,
    "DIGIT": frozenset(b"0123456789"),
    "SPACE": frozenset(code for code in ASCII if chr(code).isspace()),
}
# Letters outside ASCII that equal one of ASCII when case is ignored: the Kelvin sign, long s, dotted I, dotless i.
OTHER_CASES = {"k": r"\xe2\x84\xaa", "s": r"\xc5\xbf", "i": r"\xc4\xb0|\xc4\xb1"}
FOLDED = frozenset(code for code in ASCII if chr(code).lower() in OTHER_CASES)
MAX_COUNT = 16  # of a repetition; a larger one is widened to any number, so that the automaton stays small
MAX_ITEMS = 64  # of a sequence: what comes after them is not looked at


@dataclass(frozen=True)
class _Character:
    """One character: one of `codes`, or the bytes that `other` matches, a character outside ASCII."""

    codes: frozenset[int]
    other: str = ""


@dataclass(frozen=True)
class _Choice:
    branches: tuple[tuple["_Item", ...], ...]


@dataclass(frozen=True)
class _Repeat:
    least: int
    most: int
    items: tuple["_Item", ...]


@dataclass(frozen=True)
class _Boundary:
    """A word boundary."""


@dataclass(frozen=True)
class _LineEnd:
    """The end of a line, in a pattern that is meant for text of many lines."""


@dataclass(frozen=True)
class _Ahead:
    """A positive lookahead."""

    items: tuple["_Item", ...]


@dataclass(frozen=True)
class _Anything:
    """Any text of a line: what cannot be widened, such as a reference to a group."""


_Item = _Character | _Choice | _Repeat | _Boundary | _LineEnd | _Ahead | _Anything
_Items = tuple[_Item, ...]


@cache
def widened(pattern: re.Pattern[str]) -> bytes:
    """Return a pattern of RE2 that matches within every line, as UTF-8, in which `pattern` matches.

    The line may hold bytes that are not UTF-8 if the exact pattern gets U+FFFD in their place.
    """
    tree = _items(_parser.parse(pattern.pattern, pattern.flags), pattern.flags)
    return (_text(_without_start(_without_end(tree))) or "(?:)").encode("ascii")


def _items(nodes: Iterable[tuple[Any, Any]], flags: int) -> _Items:
    return tuple(item for name, value in nodes for item in _read(str(name), value, flags))


def _read(name: str, value: Any, flags: int) -> _Items:
    """Return the items of a node of the syntax tree; none for an assertion that is dropped."""
    found: _Items = ()
    if name == "SUBPATTERN":
        _, added, removed, inner = value
        found = _items(inner, (flags | added) & ~removed)
    elif name == "ATOMIC_GROUP":
        found = _items(value, flags)
    elif name == "BRANCH":
        found = (_Choice(tuple(_items(branch, flags) for branch in value[1])),)
    elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        found = (_Repeat(value[0], value[1], _items(value[2], flags)),)
    elif name in ("LITERAL", "NOT_LITERAL", "IN", "ANY"):
        found = (_Character(ASCII, HIGH) if name == "ANY" else _character(name, value, bool(flags & re.IGNORECASE)),)
    elif name == "ASSERT" and value[0] > 0:
        found = (_Ahead(_items(value[1], flags)),)
    elif str(value) == "AT_BOUNDARY":
        found = (_Boundary(),)
    elif str(value) == "AT_END" and flags & re.MULTILINE:
        found = (_LineEnd(),)
    elif name not in ("AT", "ASSERT", "ASSERT_NOT"):
        found = (_Anything(),)
    return found


def _character(name: str, value: Any, ignore_case: bool) -> _Character:
    members = {"LITERAL": [(name, value)], "NOT_LITERAL": [("NEGATE", None), ("LITERAL", value)]}.get(name, value)
    members = [(str(kind), what) for kind, what in members]
    codes: set[int] = set()
    for kind, what in members:
        codes |= _codes(kind, what)
    if ignore_case:
        codes |= {ord(chr(code).swapcase()) for code in codes}
    if members[0][0] == "NEGATE":
        return _Character(ASCII - codes, HIGH)
    literals = [what if kind == "LITERAL" else what[1] for kind, what in members if kind in ("LITERAL", "RANGE")]
    is_foreign = any(code > 127 for code in literals)
    if is_foreign and ignore_case:
        codes |= FOLDED
    if is_foreign or any(kind == "CATEGORY" for kind, _ in members):
        return _Character(frozenset(codes), HIGH)
    folded = {chr(code).lower() for code in codes & FOLDED} if ignore_case else set()
    return _Character(frozenset(codes), "|".join(OTHER_CASES[letter] for letter in sorted(folded)))


def _codes(kind: str, what: Any) -> frozenset[int]:
    """Return the characters of ASCII that a member of a set accepts."""
    if kind == "LITERAL":
        return ASCII & {what}
    if kind == "RANGE":
        return ASCII & frozenset(range(what[0], min(what[1], 127) + 1))
    if kind == "CATEGORY":
        name = str(what).removeprefix("CATEGORY_")
        return ASCII - SETS[name.removeprefix("NOT_")] if name.startswith("NOT_") else SETS[name]
    return frozenset()


def _is_optional(items: _Items) -> bool:
    """Return whether a sequence may match nothing."""
    return all(
        isinstance(item, (_Boundary, _Ahead, _Anything))
        or (isinstance(item, _Repeat) and (item.least == 0 or _is_optional(item.items)))
        or (isinstance(item, _Choice) and any(map(_is_optional, item.branches)))
        for item in items
    )


def _without_start(items: _Items) -> _Items:
    """Return a sequence without what may be empty at its start: a search finds the rest as well."""
    while items and _is_optional(items[:1]):
        if isinstance(items[0], _Boundary) and _is_word(items[1:2]):
            return items
        items = items[1:]
    return (*_at_least(items[0], _without_start), *items[1:]) if items else ()


def _without_end(items: _Items) -> _Items:
    """Return a sequence without what may be empty at its end; a lookahead there becomes a part of the match."""
    if len(items) <= MAX_ITEMS and items and isinstance(items[-1], _Ahead):
        items = (*items[:-1], *items[-1].items)
    items = items[:MAX_ITEMS]
    while items and _is_optional(items[-1:]):
        items = items[:-1]
    return (*items[:-1], *_at_least(items[-1], _without_end)) if items else ()


def _at_least(item: _Item, cut: Callable[[_Items], _Items]) -> _Items:
    """Return the least that an item at an end of a pattern matches."""
    if isinstance(item, _Repeat):
        return (_Repeat(item.least, item.least, item.items),)
    return (_Choice(tuple(map(cut, item.branches))),) if isinstance(item, _Choice) else (item,)


def _is_word(items: Sequence[_Item], end: int = 0) -> bool:
    """Return whether a sequence certainly starts (or ends, with `end` -1) with a word character of ASCII."""
    if not items:
        return False
    item = items[end]
    if isinstance(item, _Character):
        return not item.other and item.codes <= WORD
    if isinstance(item, _Choice):
        return all(_is_word(branch, end) for branch in item.branches)
    return isinstance(item, _Repeat) and item.least > 0 and _is_word(item.items, end)


def _text(items: _Items) -> str:
    parts = []
    for index, item in enumerate(items):
        if isinstance(item, _Character):
            parts.append(_one(item))
        elif isinstance(item, _Choice):
            parts.append(f"(?:{'|'.join(map(_text, item.branches))})")
        elif isinstance(item, _Repeat):
            parts.append(_repeated(item))
        elif isinstance(item, _Boundary):  # next to other characters `re` and RE2 do not agree on boundaries
            parts.append(r"\b" if _is_word(items[index + 1 :]) or _is_word(items[:index], -1) else "")
        elif isinstance(item, _LineEnd):
            parts.append("(?m:$)")
        elif isinstance(item, _Anything):
            parts.append(r"[^\n]*")
    return "".join(parts)


def _one(character: _Character) -> str:
    if not character.other:
        return _set(character.codes)
    other = f"[{HIGH}]{{1,4}}" if character.other == HIGH else character.other
    return f"(?:{_set(character.codes)}|{other})"


def _repeated(repeat: _Repeat) -> str:
    what, num_bytes = f"(?:{_text(repeat.items)})", 1
    only = repeat.items[0] if len(repeat.items) == 1 else None
    if isinstance(only, _Character) and only.other in ("", HIGH):
        what, num_bytes = _set(only.codes, only.other), 4 if only.other else 1
    least = min(repeat.least, MAX_COUNT)
    most = int(repeat.most) * num_bytes
    if repeat.least == repeat.most and num_bytes == 1:
        return f"{what}{{{least}}}" if repeat.least <= MAX_COUNT else f"{what}{{{least},}}"
    return f"{what}{{{least},{most}}}" if most <= MAX_COUNT else f"{what}{{{least},}}"


def _set(codes: frozenset[int], others: str = "") -> str:
    """Return a set of bytes; none of them ends a line."""
    inside = "".join(rf"\x{code:02x}" for code in sorted(codes - {0x0A})) + others
    return f"[{inside}]" if inside else r"[^\x00-\xff]"
