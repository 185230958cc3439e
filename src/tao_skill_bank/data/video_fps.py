"""Writes a copy of an annotation file in which every video record has its container's frame rate."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tao_skill_bank.core import unfinished
from tao_skill_bank.core.limits import TOO_DEEP, is_too_deep
from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.media_probe import container_rate, require_decoder
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.errors import BlockedError, ConflictError, Problem, RequestError

MAX_PROBLEMS = 100


@dataclass(frozen=True)
class FixReport:
    """What was written: records in all, records whose video_fps was set, and video files that were probed."""

    target: str
    records: int
    fixed: int
    probed: int


def fix_video_fps(source: Path, target: Path, media_root: Path | None = None) -> FixReport:
    """Write `source` to `target` with the probed rate wherever `video_fps` is missing or invalid.

    The source is only read. The target is a JSON list, or JSON lines when its name ends with .jsonl; it appears
    complete or not at all.

    Args:
        source: annotation file.
        target: new file.
        media_root: folder that media names are relative to; the source's folder by default.

    Raises:
        ConflictError: the target exists, or is the source.
        RequestError: the media root is not a folder.
        BlockedError: the source cannot be read, or videos have no rate; all of them are listed.
        MissingExtraError: PyAV is not installed.

    """
    refuse_overwriting(source, target)
    require_decoder()
    root = source.parent if media_root is None else media_root
    if not root.is_dir():
        message = f"Media root {root} is not a folder."
        raise RequestError.of(
            "media_root_not_folder", message, "Unpack the archive and give its folder.", path=str(root)
        )
    fixer = _Fixer(root)
    work = unfinished.next_to(_folder_of(target) / target.name)
    try:
        # A lone surrogate cannot be encoded; its backslash form is the JSON escape it was read from.
        with work.open("x", encoding="utf-8", errors="backslashreplace") as file:
            _write(file, fixer.records(source), as_lines=target.suffix == ".jsonl")
            if fixer.problems:
                raise BlockedError(fixer.problems[:MAX_PROBLEMS])
            file.flush()
            os.fsync(file.fileno())
        work.replace(target)
    finally:
        work.unlink(missing_ok=True)
    return FixReport(str(target), fixer.num_records, fixer.num_fixed, len(fixer.rates))


class _Fixer:
    """Yields corrected records; tracks counts, the rate of every file, and files that could not be probed."""

    def __init__(self, root: Path) -> None:
        self.num_records = 0
        self.num_fixed = 0
        self.rates: dict[Path, float | None] = {}
        self.problems: list[Problem] = []
        self._root = root

    def records(self, source: Path) -> Iterator[Any]:
        """Yield every record of the source, corrected where needed."""
        for record in stream_records(source):
            self.num_records += 1
            if is_too_deep(record):
                message = f"Record {self.num_records - 1} of {source} is beyond a limit: {TOO_DEEP}."
                raise BlockedError.of("record_too_deep", message, "Flatten the record.", path=str(source))
            yield self._corrected(record)

    def _corrected(self, record: Any) -> Any:
        videos = [media for media in media_of(record) if media.kind == "video" and not media.frames]
        if all(media.rate for media in videos):
            return record
        rate = self._rate(self._root / videos[0].name)
        if rate is None:
            return record
        self.num_fixed += 1
        return {**record, "video_fps": rate}

    def _rate(self, path: Path) -> float | None:
        if path not in self.rates:
            try:
                self.rates[path] = container_rate(path)
            except BlockedError as error:
                self.rates[path] = None
                self.problems.extend(error.problems)
        return self.rates[path]


def refuse_overwriting(source: Path, target: Path) -> None:
    """Raise ConflictError when the target exists, or is the source."""
    if target.resolve() == source.resolve():
        message = f"{target} is the source itself, which is never edited."
        raise ConflictError.of("target_is_source", message, "Give another name for the copy.", path=str(target))
    if target.exists() or target.is_symlink():
        message = f"{target} already exists."
        raise ConflictError.of("target_exists", message, "Remove it, or give another name.", path=str(target))


def _folder_of(target: Path) -> Path:
    if not target.parent.is_dir():
        message = f"The folder {target.parent} does not exist."
        raise RequestError.of("target_folder_missing", message, "Create it, or give another target.", path=str(target))
    return target.parent


def _write(file: TextIO, records: Iterator[Any], *, as_lines: bool) -> None:
    separator = "\n" if as_lines else ",\n"
    file.write("" if as_lines else "[\n")
    for position, record in enumerate(records):
        file.write((separator if position else "") + json.dumps(record, ensure_ascii=False))
    file.write("\n" if as_lines else "\n]\n")
