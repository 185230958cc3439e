"""Reads one record: the values that everybody works with, and everything that is wrong with it."""

from collections.abc import Mapping, Sequence
from typing import Any

from tao_skill_bank.core.limits import is_too_deep
from tao_skill_bank.data.records import content, named_media, placement
from tao_skill_bank.data.records import issues as issue_types
from tao_skill_bank.data.records.content import DEFAULT_KEY, Reading, WrittenPart, WrittenTurn
from tao_skill_bank.data.records.issues import Issues, shown
from tao_skill_bank.data.records.named_media import MEDIA_KEYS, reads_bare
from tao_skill_bank.data.records.rates import rate_of
from tao_skill_bank.data.records.usual import UNUSUAL, UsualRecords
from tao_skill_bank.data.records.values import Media, Record, RecordIssue, RecordRules

ANY_KEY = RecordRules(conversations_key="")
_usual = UsualRecords(RecordRules())


def read(raw: Any, index: int, rules: RecordRules) -> Record:
    """Return a record. Raises BlockedError with everything that is wrong with it, named by its id or position."""
    record, found = examine(raw, rules)
    if found:
        raise issue_types.as_error(record.name(index), found, rules)
    return record


def media_of(raw: Any, conversations_key: str = "") -> tuple[Media, ...]:
    """Return the media that a record names, in the order in which they are shown; names that cannot be used are not.

    Args:
        raw: the record as it is in the file.
        conversations_key: where its turns are; by default they are looked for.

    """
    if conversations_key in ("", DEFAULT_KEY) and _usual.length(raw) != UNUSUAL:
        return (Media("video", raw["video"], rate=rate_of(raw.get("video_fps"))),)
    rules = RecordRules(conversations_key) if conversations_key else ANY_KEY
    return examine(raw, rules)[0].media


def record_name(raw: Any, index: int) -> str:
    """Return the name of a record in errors: its id, else its position."""
    return Record(_identity(raw, Issues()) if isinstance(raw, dict) else None).name(index)


def examine(raw: Any, rules: RecordRules) -> tuple[Record, tuple[RecordIssue, ...]]:
    """Return a record as far as it is understood, and everything that is wrong with it."""
    issues = Issues()
    if not isinstance(raw, dict):
        issues.add("record_not_object", detail=shown(raw))
        return Record(), tuple(issues.found)
    if is_too_deep(raw):
        issues.add("record_too_deep")
        return Record(), tuple(issues.found)
    identity = _identity(raw, issues)
    of_times = Issues()
    times = named_media.times_of(raw, "", of_times)
    reading = Reading(times, issues, [])
    declared = named_media.declared(raw, times, issues)
    turns = content.read(raw, rules, reading)
    _add_system(raw, turns, issues)
    num_characters = sum(len(part.text) for turn in turns for part in turn.parts)
    _check_texts(turns, rules, issues)
    _check_order(turns, rules, issues)
    shows_video = _shows_video(declared, turns)
    if shows_video:
        issues.found += of_times.found
    placed = placement.place(turns, declared, issues)
    _check_required(raw, rules, placed.media if placed.media else declared, issues, shows_video=shows_video)
    record = Record(
        identity,
        placed.turns,
        placed.media,
        turns[-1].format if turns else None,
        num_characters,
        tuple(_unread(raw, rules, reading, placed.media)),
        any(media.kind == "video" for media in placed.media) and (reads_bare(raw, "start") or reads_bare(raw, "end")),
    )
    return record, tuple(dict.fromkeys(issues.found))


def _identity(raw: Mapping[str, Any], issues: Issues) -> str | None:
    value = raw.get("id")
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    if not is_text(text):
        issues.add("text_invalid", "id", shown(text))
        return shown(text)
    return text


def is_text(text: str) -> bool:
    """Return whether a text is Unicode without NUL: what tokenizers, files and results can hold."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _add_system(raw: Mapping[str, Any], turns: list[WrittenTurn], issues: Issues) -> None:
    """Put the record's `system` first, where it has one."""
    system = raw.get("system")
    if system is None or system == "":
        return
    if not isinstance(system, str):
        issues.add("system_misplaced", "system", f"{shown(system)} where text belongs")
    elif turns and turns[0].role == "system":
        if "".join(part.text for part in turns[0].parts) != system:
            issues.add("system_misplaced", "system", "another text than the system turn")
    elif turns:
        turns.insert(0, WrittenTurn("system", [WrittenPart("text", system, place="system")], "system", turns[0].format))


def _check_texts(turns: Sequence[WrittenTurn], rules: RecordRules, issues: Issues) -> None:
    for turn in turns:
        for part in turn.parts:
            if part.kind != "text":
                continue
            if not is_text(part.text):
                issues.add("text_invalid", part.place, shown(part.text))
            found = [token for token in rules.reserved_tokens if token in part.text]
            if found:
                issues.add("reserved_token", part.place, ", ".join(found))


def _check_order(turns: Sequence[WrittenTurn], rules: RecordRules, issues: Issues) -> None:
    previous = ""
    for index, turn in enumerate(turns):
        if turn.role == "assistant":
            if previous != "user":
                issues.add("answer_without_question", turn.place, f"after {previous}" if previous else "first turn")
            if not any(part.kind != "text" or part.text.strip() for part in turn.parts):
                issues.add("answer_empty", turn.place)
        elif turn.role == "system" and index:
            issues.add("system_misplaced", turn.place)
        previous = turn.role
    is_read = turns or not any(issue.code.startswith("conversations") for issue in issues.found)
    if rules.needs_answer and is_read and not any(turn.role == "assistant" for turn in turns):
        issues.add("answer_missing")


def _shows_video(declared: Sequence[Media], turns: Sequence[WrittenTurn]) -> bool:
    named = (media for turn in turns for part in turn.parts for media in part.media)
    return any(media.kind == "video" for media in (*declared, *named))


def _check_required(
    raw: Mapping[str, Any], rules: RecordRules, media: Sequence[Media], issues: Issues, *, shows_video: bool
) -> None:
    """Check the fields that every record with a video must have; a rate may also stand in the content part."""
    for name in rules.required_fields if shows_video else ():
        if name != "video_fps":
            missing = raw.get(name) is None
        else:
            unrated = [item for item in media if item.kind == "video" and item.rate is None and not item.frames]
            missing = raw.get(name) is None and bool(unrated)
        if missing:
            issues.add(f"{name}_missing")


def _unread(raw: Mapping[str, Any], rules: RecordRules, reading: Reading, media: Sequence[Media]) -> list[str]:
    """Return the paths of the keys that nobody reads."""
    read = {"id", "system", *rules.required_fields, *(key for key, _ in MEDIA_KEYS)}
    if any(item.kind == "video" for item in media):
        read |= {"video_fps", "video_start", "video_end"}
        read |= {name for name in ("start", "end") if reads_bare(raw, name)}
    if any(item.frames for item in media):
        read |= {"sample_fps", "frames_indices"}
    key = content.turns_key(raw, rules)
    read |= {key} if key else {name for name, _ in content.COLUMNS}
    return [*(name for name, value in raw.items() if name not in read and value is not None), *reading.unread]
