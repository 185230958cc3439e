"""Annotation files in every form that the reader of records takes."""

import json
from collections.abc import Iterator
from pathlib import Path

from tao_skill_bank.data.annotations import ENVELOPE_KEYS, stream_records
from tao_skill_bank.data.convert.columns import Columns
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import Options, RawRecord, Target
from tao_skill_bank.data.json_stream import ITEM_KEYS

TITLE = "an annotation file (JSON, JSON lines), or a folder with annotations.json"
TARGETS: tuple[Target, ...] = ("llava",)
ENDINGS = (".json", ".jsonl", ".ndjson")
NAMES = ("annotations.json", "annotations.jsonl")
MAX_ENVELOPE = 1 << 26  # characters
ARCHIVES = ("videos.tar.gz", "images.tar.gz")


def detect(path: Path) -> bool:
    """Return whether a path is an annotation file, or a folder with one."""
    if path.is_dir():
        return any((path / name).is_file() for name in NAMES)
    return path.suffix.lower() in ENDINGS


def media_root(path: Path) -> Path:
    """Return the folder of the annotation file, or its only archive that is not unpacked there."""
    folder = path if path.is_dir() else path.parent
    packed = [
        name for name in ARCHIVES if (folder / name).is_file() and not (folder / name.partition(".")[0]).is_dir()
    ]  # fmt: skip
    return folder / packed[0] if len(packed) == 1 else folder


def read(path: Path, options: Options, notes: Notes) -> Iterator[RawRecord]:
    """Yield the records of the file."""
    file = next(path / name for name in NAMES if (path / name).is_file()) if path.is_dir() else path
    notes.use(file)
    columns = Columns(options.columns, notes)
    for index, raw in enumerate(stream_records(file)):
        place = f"{file} record {index}"
        yield RawRecord(columns.apply(raw, place), index, place)
    columns.finish(str(file))
    _note_envelope(file, notes)


def _note_envelope(file: Path, notes: Notes) -> None:
    """Note the keys next to the list of records in an object."""
    with file.open(encoding="utf-8") as text:
        if text.read(1024).lstrip()[:1] != "{":
            return
        text.seek(0)
        content = text.read(MAX_ENVELOPE + 1)
    if len(content) > MAX_ENVELOPE:
        notes.leave_out("keys next to the list of records, if there are any (not looked for in so large a file)")
        return
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return  # JSON lines
    if isinstance(value, dict) and ITEM_KEYS.isdisjoint(value):
        holder = next((key for key in value if key in ENVELOPE_KEYS and isinstance(value[key], list)), None)
        for key in value if holder else ():
            if key != holder:
                notes.leave_out(f"key {key} next to {holder}")
