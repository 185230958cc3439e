"""LLaVA annotation files: a list, an envelope around one, or JSON lines; read as a stream."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import ijson

from tao_skill_bank.errors import BlockedError

ENVELOPE_KEYS = ("annotations", "data", "samples", "items")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
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
    """One turn of a conversation, whichever of the two spellings (from/value, role/content) the file uses."""

    role: str
    text: str

    @property
    def is_answer(self) -> bool:
        return self.role in ASSISTANT_ROLES


def stream_records(path: Path) -> Iterator[Any]:
    """Yield the records of an annotation file one by one, in constant memory.

    Raises:
        BlockedError: the file is missing, empty, not strict JSON, starts with a byte order mark, or holds no list.

    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise _unreadable(path, what, "Give the path of an existing annotation file.")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            if not head.strip():
                raise _unreadable(path, "is empty", "Write a JSON list of records into it.")
            if head.startswith(BYTE_ORDER_MARK):
                raise _unreadable(path, "starts with a byte order mark", "Save it as UTF-8 without a byte order mark.")
            file.seek(0)
            yield from _json_lines(file) if path.suffix == ".jsonl" else _json_document(file, head)
    except (ijson.JSONError, ValueError) as error:
        reason = " ".join(str(error).split())
        fix = "Write strict JSON: UTF-8, double quotes, no NaN or Infinity, no trailing comma."
        raise _unreadable(path, f"is not valid JSON: {reason}", fix) from None
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}", "Make the file readable.") from None


def load_records(path: Path) -> list[dict[str, Any]]:
    """Return every record of an annotation file. Raises BlockedError like `stream_records`."""
    return list(stream_records(path))


def media_of(record: Mapping[str, Any]) -> tuple[Media, ...]:
    """Return the videos, then the images that a record names, each in its order of appearance."""
    found: list[Media] = []
    for key, kind in MEDIA_KEYS:
        value = record.get(key)
        if isinstance(value, list):
            found.extend([Media(kind, str(name)) for name in value])
        elif value:
            found.append(Media(kind, str(value)))
    return tuple(found)


def turns_of(record: Mapping[str, Any], conversations_key: str = "conversations") -> tuple[Turn, ...]:
    """Return the turns of a record; content given as parts is joined, what is no turn is left out."""
    turns = record.get(conversations_key)
    if not isinstance(turns, list):
        return ()
    return tuple(_turn(turn) for turn in turns if isinstance(turn, dict))


def is_positive_number(value: Any) -> bool:
    """Tell whether a value is a finite number above 0, as a frame rate must be."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def _turn(turn: Mapping[str, Any]) -> Turn:
    role = turn.get("from") or turn.get("role") or ""
    content = turn.get("value") if "value" in turn else turn.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) if isinstance(part, dict) else str(part) for part in content)
    return Turn(str(role), content if isinstance(content, str) else "")


def _json_document(file: IO[bytes], head: bytes) -> Iterator[Any]:
    prefix = "item" if head.lstrip().startswith(b"[") else _envelope_prefix(file)
    file.seek(0)
    yield from ijson.items(file, prefix, use_float=True)


def _envelope_prefix(file: IO[bytes]) -> str:
    for prefix, event, _ in ijson.parse(file):
        if event == "start_array" and prefix in ENVELOPE_KEYS:
            return f"{prefix}.item"
    keys = ", ".join(ENVELOPE_KEYS)
    raise ValueError(f"the document is no list of records, nor an object with a list under one of {keys}")


def _json_lines(file: IO[bytes]) -> Iterator[Any]:
    for number, line in zip(itertools.count(1), file, strict=False):
        if line.strip():
            try:
                yield json.loads(line, parse_constant=_refuse_constant)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unreadable(path: Path, what: str, fix: str) -> BlockedError:
    return BlockedError.of("annotation_unreadable", f"Annotation file {path} {what}.", fix, path=str(path))
