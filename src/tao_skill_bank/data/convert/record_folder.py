"""Writes records into a folder: `annotations.json` of plain LLaVA records, and their media, per split."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from tao_skill_bank.data.convert import llava
from tao_skill_bank.data.convert.media_files import RESERVED, MediaFiles
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import Options, RawRecord
from tao_skill_bank.data.records.census import POSITION
from tao_skill_bank.data.records.issues import as_error, shown
from tao_skill_bank.data.records.reader import examine
from tao_skill_bank.data.records.values import Media, Record, RecordRules
from tao_skill_bank.errors import Problem


class RecordFolder:
    """A folder that records are written into, one after the other."""

    def __init__(self, folder: Path, options: Options, media: MediaFiles, notes: Notes) -> None:
        self.num_records = 0
        self._folder = folder
        self._options = options
        self._media = media
        self._notes = notes
        self._rules = RecordRules(options.conversations_key)
        self._files: dict[str, TextIO] = {}
        self._blobs: set[str] = set()

    @property
    def num_media(self) -> int:
        return self._media.num_placed + len(self._blobs)

    def write(self, records: Iterable[RawRecord]) -> None:
        """Write all records, then their media unless there are problems."""
        with ExitStack() as stack:
            for item in records:
                self._add(item, stack)
            for file in self._files.values():
                file.write("\n]\n")
        if not self._notes.num_problems:
            self._media.place(self._folder, links=self._options.links)

    def _add(self, item: RawRecord, stack: ExitStack) -> None:
        self.num_records += 1
        record, issues = examine(item.raw, self._rules)
        name = record.name(item.index)
        if issues:
            problems = as_error(name, issues, self._rules).problems
            self._notes.add(replace(problem, path=item.place or problem.path) for problem in problems)
            return
        where = f"Record {shown(name)}" + (f" ({item.place})" if item.place else "")
        placed = self._with_media(record, item, where)
        if placed is None:
            return
        try:
            written = llava.plain(placed)
        except llava.NotPlainError as error:
            fix = "Correct the record, or train on the source as it is if it is an annotation file."
            self._notes.add([Problem("record_not_plain", f"{where} has no plain form: {error}.", fix, item.place)])
            return
        self._note_losses(record, item, where)
        self._append(json.dumps(written, ensure_ascii=False), item.split, stack)
        self._store({name for media in placed.media for name in media.files}, item)

    def _with_media(self, record: Record, item: RawRecord, where: str) -> Record | None:
        """Return a record with the names and rates that its media have in the result."""
        found = [self._placed(media, item, where) for media in record.media]
        return replace(record, media=tuple(media for media in found if media)) if all(found) else None

    def _placed(self, media: Media, item: RawRecord, where: str) -> Media | None:
        names = [
            name if name in item.blobs else self._media.find(name, item.split, where) for name in media.files
        ]  # fmt: skip
        if not all(names):
            return None
        rate = media.rate
        if media.kind == "video" and rate is None and not media.frames:
            if media.name in item.blobs:
                message = f"{where} has no video_fps for a video that is held in the table."
                self._notes.problem("video_fps_missing", message, "Add the column video_fps.", item.place)
                return None
            rate = self._media.rate(media.name)
            if rate is None:
                return None
        frames = tuple(str(name) for name in names) if media.frames else ()
        return replace(media, name=str(names[0]), frames=frames, rate=rate)

    def _note_losses(self, record: Record, item: RawRecord, where: str) -> None:
        for path in dict.fromkeys(POSITION.sub("[]", path) for path in record.unread):
            self._notes.leave_out(f"key {shown(path)}", first=where)
        if llava.loses_space(record):
            self._notes.leave_out("white space next to a medium", first=where)
        named = {name for media in record.media for name in media.files}
        for name in item.blobs:
            if name not in named:
                self._notes.leave_out("media that no turn shows", first=where)

    def _append(self, line: str, split: str, stack: ExitStack) -> None:
        file = self._files.get(split)
        separator = ","
        if file is None:
            separator = "["
            path = self._folder / split / RESERVED
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("x", encoding="utf-8"))
            self._files[split] = file
        file.write(f"{separator}\n{line}")

    def _store(self, names: set[str], item: RawRecord) -> None:
        """Write those media of a table that its record shows, each content once."""
        for name in names & item.blobs.keys():
            path, content = self._folder / item.split / name, item.blobs[name]
            if str(path) not in self._blobs:
                self._blobs.add(str(path))
                if content is not None:
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(content)


def media_names(records: Iterable[RawRecord], conversations_key: str) -> Iterator[str]:
    """Yield the names of all media that some records show."""
    rules = RecordRules(conversations_key)
    for item in records:
        for media in examine(item.raw, rules)[0].media:
            yield from media.files
