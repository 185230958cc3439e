"""LLaVA annotation files: a list, an envelope around one, or JSON lines; read as a stream."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import ijson

from tao_skill_bank.errors import BlockedError

ENVELOPE_KEYS = ("annotations", "data", "samples", "items")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MediaKind = Literal["video", "image"]


@dataclass(frozen=True)
class Media:
    """One media file that a record names, relative to the dataset's media path."""

    kind: MediaKind
    name: str


def stream_records(path: Path) -> Iterator[Any]:
    """Yield the records of an annotation file one by one, in constant memory.

    Raises:
        BlockedError: the file is missing, empty, not strict JSON, starts with a byte order mark, or holds no list.

    """
    if not path.is_file():
        raise _unreadable(path, "does not exist", "Give the path of an existing annotation file.")
    with path.open("rb") as file:
        head = file.read(4096)
        if not head.strip():
            raise _unreadable(path, "is empty", "Write a JSON list of records into it.")
        if head.startswith(BYTE_ORDER_MARK):
            raise _unreadable(path, "starts with a byte order mark", "Save it as UTF-8 without a byte order mark.")
        file.seek(0)
        try:
            yield from _json_lines(file) if path.suffix == ".jsonl" else _json_document(file, head)
        except (ijson.JSONError, ValueError) as error:
            reason = str(error).replace("\n", " ").strip()
            fix = "Write strict JSON: UTF-8, double quotes, no NaN or Infinity, no trailing comma."
            raise _unreadable(path, f"is not valid JSON: {reason}", fix) from None


def load_records(path: Path) -> list[dict[str, Any]]:
    """Return every record of an annotation file. Raises BlockedError like `stream_records`."""
    return list(stream_records(path))


def media_of(record: dict[str, Any]) -> tuple[Media, ...]:
    """Return the videos, then the images that a record names, each in its order of appearance."""
    found: list[Media] = []
    kinds: tuple[tuple[str, MediaKind], ...] = (
        ("video", "video"),
        ("videos", "video"),
        ("image", "image"),
        ("images", "image"),
    )
    for key, kind in kinds:
        value = record.get(key)
        names = value if isinstance(value, list) else [value] if value else []
        found.extend(Media(kind, str(name)) for name in names)
    return tuple(found)


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


def _unreadable(path: Path, what: str, fix: str) -> Exception:
    return BlockedError.of("annotation_unreadable", f"Annotation file {path} {what}.", fix, path=str(path))
