"""Annotation files in every form that the reader of records takes."""

from collections.abc import Iterator
from pathlib import Path

from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.convert.columns import Columns
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import Options, RawRecord, Target

TITLE = "an annotation file (JSON, JSON lines), or a folder with annotations.json"
TARGETS: tuple[Target, ...] = ("llava",)
ENDINGS = (".json", ".jsonl", ".ndjson")
NAMES = ("annotations.json", "annotations.jsonl")
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
    columns = Columns(options.columns, notes)
    for index, raw in enumerate(stream_records(file)):
        place = f"{file} record {index}"
        yield RawRecord(columns.apply(raw, place), index, place)
    columns.finish(str(file))
