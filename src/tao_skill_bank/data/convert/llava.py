"""Writes a record as a plain LLaVA record: media by kind, markers in the text, turns of from and value."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tao_skill_bank.data.records.reader import examine
from tao_skill_bank.data.records.values import Media, Part, Record, RecordRules, Turn

RULES = RecordRules()
NAMES = {"user": "human", "assistant": "gpt", "system": "system"}


class NotPlainError(ValueError):
    """A record says something that plain LLaVA cannot."""


def plain(record: Record) -> dict[str, Any]:
    """Return a record as it is written. Raises NotPlainError when it would be read as another one."""
    written: dict[str, Any] = {} if record.id is None else {"id": record.id}
    videos = [media for media in record.media if media.kind == "video"]
    images = [media.name for media in record.media if media.kind == "image"]
    names = [list(media.frames) if media.frames else media.name for media in videos]
    if names:
        written |= {"video": names[0]} if len(names) == 1 else {"videos": names}
    if images:
        written |= {"image": images[0]} if len(images) == 1 else {"images": images}
    written |= _times(videos)
    if record.system:
        written["system"] = record.system
    turns = [turn for turn in record.turns if turn.role != "system"]
    written["conversations"] = [{"from": NAMES[turn.role], "value": _value(turn)} for turn in turns]
    again, issues = examine(written, RULES)
    if issues or _meaning(again) != _meaning(record):
        raise NotPlainError(f"it would be read as another record ({issues[0].code if issues else 'turns or media'})")
    return written


def loses_space(record: Record) -> bool:
    """Return whether white space next to a medium is not kept."""
    return any(_trimmed(turn) != turn for turn in record.turns)


def _value(turn: Turn) -> str:
    return "\n".join(part.text if part.kind == "text" else f"<{part.kind}>" for part in _trimmed(turn).parts)


def _trimmed(turn: Turn) -> Turn:
    """Return a turn as readers see its markers: without white space around media."""
    if all(part.kind == "text" for part in turn.parts):
        return turn
    parts = [replace(part, text=part.text.strip()) if part.kind == "text" else part for part in turn.parts]
    last = len(parts) - 1
    for position, part in enumerate(turn.parts):
        if part.kind == "text" and position == 0:
            parts[position] = Part("text", part.text.rstrip())
        elif part.kind == "text" and position == last:
            parts[position] = Part("text", part.text.lstrip())
    return replace(turn, parts=tuple(part for part in parts if part.kind != "text" or part.text))


def _meaning(record: Record) -> tuple[Any, ...]:
    turns = tuple(_trimmed(turn) for turn in record.turns if turn.role != "system")
    return record.id, record.system, turns, record.media


def _times(videos: Sequence[Media]) -> dict[str, Any]:
    """Return the times that all videos of a record share."""
    found: dict[str, Any] = {}
    for media in videos:
        for key, value in _times_of(media).items():
            if found.setdefault(key, value) != value:
                raise NotPlainError(f"its videos have different values of {key}: {found[key]} and {value}")
    return {key: value for key, value in found.items() if value is not None}


def _times_of(media: Media) -> dict[str, Any]:
    times: dict[str, Any] = {"video_start": media.start, "video_end": media.end}
    if media.indices is None:
        return {"video_fps": media.rate, **times}
    if media.indices == tuple(range(len(media.frames))):
        return {"sample_fps": media.rate, **times}
    return {"video_fps": media.rate, "frames_indices": list(media.indices), **times}
