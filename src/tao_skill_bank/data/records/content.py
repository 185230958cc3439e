"""Turns as they are written: from/value, role/content with content parts, or question and answer columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tao_skill_bank.data.records import named_media
from tao_skill_bank.data.records.issues import Issues, shown
from tao_skill_bank.data.records.named_media import TIME_KEYS, Times
from tao_skill_bank.data.records.values import Media, MediaKind, RecordRules, Role, TurnFormat

ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
PART_KINDS: dict[str, str] = {
    **dict.fromkeys(("text", "input_text", "output_text"), "text"),
    **dict.fromkeys(("video", "video_url", "input_video"), "video"),
    **dict.fromkeys(("image", "image_url", "input_image"), "image"),
}
TURN_KEYS = frozenset({"from", "value", "role", "content"})
OTHER_KEYS = ("messages",)
COLUMNS = (("question", "user"), ("answer", "assistant"))
DEFAULT_KEY = "conversations"


@dataclass
class WrittenPart:
    """A content part before media have been assigned: a text, or a medium that may be named in place."""

    kind: str
    text: str = ""
    media: list[Media] = field(default_factory=list)
    place: str = ""


@dataclass
class WrittenTurn:
    """A turn before its markers have been read."""

    role: Role
    parts: list[WrittenPart]
    place: str
    format: TurnFormat


@dataclass(frozen=True)
class Reading:
    """What reading turns needs: the record's times, and where issues and unread keys are collected."""

    times: Times
    issues: Issues
    unread: list[str]


def turns_key(record: Mapping[str, Any], rules: RecordRules) -> str | None:
    """Return the key of a record's turns; None when there is none."""
    key = rules.conversations_key
    if key and record.get(key) is not None:
        return key
    others = (DEFAULT_KEY, *OTHER_KEYS) if not key else OTHER_KEYS if key == DEFAULT_KEY else ()
    found = next((other for other in others if record.get(other) is not None), None)
    if found is None and not key:
        found = next((name for name, value in record.items() if _looks_like_turns(value)), None)
    return found


def read(record: Mapping[str, Any], rules: RecordRules, reading: Reading) -> list[WrittenTurn]:
    """Return the turns of a record as far as they are understood."""
    key = turns_key(record, rules)
    if key is None:
        if _has_columns(record, rules):
            return list(_columns(record, reading))
        if rules.conversations_key and rules.needs_turns:
            reading.issues.add("conversations_missing", rules.conversations_key)
        return []
    others = [other for other in OTHER_KEYS if rules.conversations_key == DEFAULT_KEY and other != key]
    if any(isinstance(record.get(other), list) and record[other] for other in others):
        reading.issues.add("conversations_ambiguous", f"{key} and {', '.join(others)}")
    turns = record[key]
    if turns == [] and not rules.needs_turns:
        return []
    if not isinstance(turns, list) or not turns:
        reading.issues.add("conversations_empty", key)
        return []
    found = (_turn(turn, f"{key}[{index}]", reading) for index, turn in enumerate(turns))
    return [turn for turn in found if turn]


def _looks_like_turns(value: Any) -> bool:
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and ("from" in first or "role" in first)


def _has_columns(record: Mapping[str, Any], rules: RecordRules) -> bool:
    """Return whether a record without turns has a question and an answer."""
    if rules.conversations_key not in ("", DEFAULT_KEY):
        return False
    names = [name for name, _ in COLUMNS if record.get(name) is not None]
    return len(names) == len(COLUMNS) or (names == [COLUMNS[0][0]] and not rules.needs_answer)


def _columns(record: Mapping[str, Any], reading: Reading) -> Iterator[WrittenTurn]:
    for name, role in COLUMNS:
        value = record.get(name)
        text = _text(value)
        if text is not None:
            yield WrittenTurn(ROLES[role], [WrittenPart("text", text, place=name)], name, "question/answer")
        elif value is not None:
            reading.issues.add("turn_invalid", name, f"{shown(value)} where text belongs")


def _turn(turn: Any, place: str, reading: Reading) -> WrittenTurn | None:
    issues = reading.issues
    if not isinstance(turn, dict):
        issues.add("turn_invalid", place, f"{shown(turn)} where an object belongs")
        return None
    names = [str(turn[key]).lower() for key in ("from", "role") if turn.get(key)]
    values = [turn[key] for key in ("value", "content") if turn.get(key) is not None]
    if len({ROLES.get(name) for name in names}) != 1 or names[0] not in ROLES:
        issues.add("turn_invalid", place, f"role {shown(' and '.join(names)) or 'missing'}")
        return None
    if not values or any(value != values[0] for value in values[1:]):
        issues.add("turn_invalid", place, "two different texts" if values else "no text")
        return None
    key = "value" if turn.get("value") is not None else "content"
    reading.unread.extend(f"{place}.{name}" for name in turn if name not in TURN_KEYS)
    parts = _parts(values[0], f"{place}.{key}", reading)
    written: TurnFormat = "from/value" if "from" in turn else "role/content"
    return None if parts is None else WrittenTurn(ROLES[names[0]], parts, place, written)


def _parts(value: Any, place: str, reading: Reading) -> list[WrittenPart] | None:
    if isinstance(value, list):
        found = [_part(part, f"{place}[{index}]", reading) for index, part in enumerate(value)]
        return [part for part in found if part]
    text = _text(value)
    if text is None:
        reading.issues.add("turn_invalid", place, f"{shown(value)} where text belongs")
        return None
    return [WrittenPart("text", text, place=place)]


def _text(value: Any) -> str | None:
    """Return text, and a number as text."""
    if isinstance(value, str):
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else None


def _part(part: Any, place: str, reading: Reading) -> WrittenPart | None:
    kind = _kind_of(part)
    if kind is None:
        found = part.get("type") if isinstance(part, dict) else part
        reading.issues.add("part_invalid", place, f"type {shown(found)}")
        return None
    known = ("text",) if kind == "text" else (*_media_keys(kind), *TIME_KEYS)
    reading.unread.extend(
        f"{place}.{name}" for name, value in part.items() if name not in (*known, "type") and value is not None
    )
    if kind == "text":
        text = _text(part.get("text"))
        if text is None or _media_in(part, "video") or _media_in(part, "image"):
            reading.issues.add("part_invalid", place, "a text part without text, or with media")
            return None
        return WrittenPart("text", text, place=place)
    return WrittenPart(kind, "", _inline(part, kind, place, reading), place)  # type: ignore[arg-type]


def _kind_of(part: Any) -> str | None:
    """Return what a part is by its type; without one, by the only key that says it."""
    if not isinstance(part, dict):
        return None
    if part.get("type") is not None:
        return PART_KINDS.get(part["type"]) if isinstance(part["type"], str) else None
    kinds = {PART_KINDS[name] for name, value in part.items() if name in PART_KINDS and value is not None}
    return kinds.pop() if len(kinds) == 1 else None


def _media_keys(kind: str) -> tuple[str, ...]:
    return kind, f"{kind}_url", "url", "path"


def _media_in(part: Mapping[str, Any], kind: str) -> list[tuple[str, Any]]:
    """Return the keys of a part that name its medium, with their values."""
    found = []
    for name in (kind, f"{kind}_url"):
        value = part.get(name)
        if isinstance(value, dict):
            name, value = f"{name}.url", value.get("url")  # noqa: PLW2901 - the place of the value
        if value is not None:
            found.append((name, value))
    return found


def _inline(part: Mapping[str, Any], kind: MediaKind, place: str, reading: Reading) -> list[Media]:
    """Return the medium that a part names in place; none when the record names it."""
    plain = [(name, part[name]) for name in ("url", "path") if part.get(name) is not None]
    named = [*_media_in(part, kind), *plain]
    other = _media_in(part, "image" if kind == "video" else "video")
    if other:
        reading.issues.add("media_kind", f"{place}.{other[0][0]}", f"in a {kind} part")
    if any(value != named[0][1] for _, value in named[1:]):
        reading.issues.add("part_invalid", place, "two different media")
    if not named:
        return []
    name, value = named[0]
    times = named_media.times_of(part, f"{place}.", reading.issues, reading.times) if kind == "video" else Times()
    found = named_media.under(value, kind, f"{place}.{name}", times, reading.issues)
    if len(found) > 1:
        reading.issues.add("media_name_invalid", f"{place}.{name}", f"{shown(value)} where one medium belongs")
    return found[:1]
