"""LLaVA annotation files: a list, an object with a list, or JSON lines; read as a stream."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO, TypeGuard

from tao_skill_bank.data.json_stream import DECODER, NoListError, stream_items
from tao_skill_bank.errors import BlockedError

ENVELOPE_KEYS = ("annotations", "data", "samples", "items")
BYTE_ORDER_MARK = "\ufeff"
ASSISTANT_ROLES = frozenset({"gpt", "assistant"})
MediaKind = Literal["video", "image"]
MEDIA_KEYS: tuple[tuple[str, MediaKind], ...] = (
    ("video", "video"),
    ("videos", "video"),
    ("image", "image"),
    ("images", "image"),
)


class Media(NamedTuple):
    """One media file that a record names, relative to the dataset's media path."""

    kind: MediaKind
    name: str


class Turn(NamedTuple):
    """One turn of a conversation, in either format (from/value or role/content)."""

    role: str
    text: str

    @property
    def is_answer(self) -> bool:
        return self.role in ASSISTANT_ROLES


def stream_records(path: Path) -> Iterator[Any]:
    """Yield the records of an annotation file one by one, in constant memory.

    Raises:
        BlockedError: the file is missing, empty, not strict JSON, starts with a byte order mark, or contains no list.

    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise _unreadable(path, what, "Give the path of an existing annotation file.")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head = file.read(4096)
            if not head.strip():
                raise _unreadable(path, "is empty", "Write a JSON list of records into it.")
            if head.startswith(BYTE_ORDER_MARK):
                raise _unreadable(path, "starts with a byte order mark", "Save it as UTF-8 without a byte order mark.")
            file.seek(0)
            yield from _json_lines(file) if path.suffix == ".jsonl" else stream_items(file, ENVELOPE_KEYS)
    except UnicodeDecodeError:
        raise _unreadable(path, "is not UTF-8", "Save it as UTF-8 without a byte order mark.") from None
    except NoListError as error:
        fix = "Write a JSON list of records into it, or one under `annotations`."
        raise _unreadable(path, f"contains no records: {error}", fix) from None
    except ValueError as error:
        fix = "Write strict JSON: UTF-8, double quotes, no NaN or Infinity, no trailing comma."
        raise _unreadable(path, f"is not valid JSON: {error}", fix) from None
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}", "Make the file readable.") from None


def load_records(path: Path) -> list[dict[str, Any]]:
    """Return every record of an annotation file. Raises BlockedError like `stream_records`."""
    return list(stream_records(path))


def media_of(record: Mapping[str, Any]) -> tuple[Media, ...]:
    """Return the videos, then the images that a record names, each in order of appearance."""
    found: list[Media] = []
    for key, kind in MEDIA_KEYS:
        value = record.get(key)
        if isinstance(value, list):
            found.extend([Media(kind, str(name)) for name in value])
        elif value:
            found.append(Media(kind, str(value)))
    return tuple(found)


def turns_of(record: Mapping[str, Any], conversations_key: str = "conversations") -> tuple[Turn, ...]:
    """Return the turns of a record; content given as parts is joined, invalid turns are skipped."""
    turns = record.get(conversations_key)
    if not isinstance(turns, list):
        return ()
    return tuple(_turn(turn) for turn in turns if isinstance(turn, dict))


def is_positive_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a finite number above 0, as a frame rate must be."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def _turn(turn: Mapping[str, Any]) -> Turn:
    role = turn.get("from") or turn.get("role") or ""
    content = turn.get("value") if "value" in turn else turn.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) if isinstance(part, dict) else str(part) for part in content)
    return Turn(str(role), content if isinstance(content, str) else "")


def _json_lines(file: TextIO) -> Iterator[Any]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                yield DECODER.decode(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {getattr(error, 'msg', error)}") from None


def _unreadable(path: Path, what: str, fix: str) -> BlockedError:
    return BlockedError.of("annotation_unreadable", f"Annotation file {path} {what}.", fix, path=str(path))
