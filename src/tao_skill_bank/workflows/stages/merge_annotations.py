"""Merges annotation files into one new dataset, with a share of the records of each.

Which records a share takes depends on a hash of their ids alone: a larger share adds to a smaller one.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tao_skill_bank.contracts import contract
from tao_skill_bank.core import numbers, subset, unfinished
from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.convert import llava
from tao_skill_bank.data.records.named_media import MEDIA_KEYS
from tao_skill_bank.data.records.reader import examine, media_of
from tao_skill_bank.data.records.values import RecordRules
from tao_skill_bank.errors import BlockedError, Problem, RequestError
from tao_skill_bank.runs.run_directory import verbatim_json, write_whole
from tao_skill_bank.workflows import datasets
from tao_skill_bank.workflows.stage import Context, Need

RECORDS, LINEAGE = "annotations.json", "lineage.json"
OUTPUTS = {
    "annotations": "the new annotation file",
    "media": "the folder to which its media names are relative",
    "rows": "records written",
    "taken": "records taken of each source, by its name",
    "renamed": "records whose id another record had: theirs is ID@SOURCE",
    "repeated": "records left out because an equal one was taken before",
}


@contract
class Source:
    """One annotation file, or a dataset folder; null is no source, such as the output of a step that was skipped.

    Attributes:
        annotations: also {annotation_path, media_path}, as an input that is a dataset may be.
        media: folder to which media names are relative; by default the folder of the annotations.
        share: of its records, above 0 and up to 1.
        name: in ids and lineage; `source-N` by default.

    """

    annotations: datasets.Named | None
    media: str | None = None
    share: float = 1.0
    name: str = ""


@contract
class Arguments:
    """What is merged, in the order in which records of the same id and content are kept."""

    sources: tuple[Source, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class _Opened:
    """A source whose places are known: its ids (or hashes of content), and the positions that its share takes."""

    name: str
    path: Path
    media: Path
    share: float
    keys: tuple[str, ...]

    @property
    def positions(self) -> list[int]:
        return subset.chosen(self.keys, max(1, round(self.share * len(self.keys))))


def promised(_arguments: Arguments, folder: Path) -> list[Path]:
    """Return the new annotations, and where they come from."""
    return [folder / RECORDS, folder / LINEAGE]


def need(arguments: Arguments) -> Need:
    """Return how many records the shares take. Raises like `run`."""
    return Need(rows=sum(len(source.positions) for source in _opened(arguments)))


def run(arguments: Arguments, context: Context) -> dict[str, Any]:
    """Write the dataset; it appears whole or not at all.

    Raises:
        RequestError: a share is not above 0 and up to 1, or names are not distinct.
        BlockedError: a source cannot be read or is empty, or its media are in an archive.

    """
    sources = _opened(arguments)
    root = Path(os.path.commonpath([source.media for source in sources]))
    target, writer = context.folder / RECORDS, _Writer(root)
    work = unfinished.next_to(target)
    try:
        with work.open("x", encoding="utf-8", errors="backslashreplace") as file:
            separator = "["
            for record in writer.merged(sources):
                file.write(f"{separator}\n{json.dumps(record, ensure_ascii=False)}")
                separator = ","
            file.write("\n]\n")
            file.flush()
            os.fsync(file.fileno())
        if writer.problems:
            raise BlockedError(writer.problems)
        work.replace(target)
    finally:
        work.unlink(missing_ok=True)
    lineage = [_lineage(source, writer.taken[source.name]) for source in sources]
    write_whole(context.folder / LINEAGE, verbatim_json({"media": str(root), "sources": lineage}))
    rows = sum(writer.taken.values())
    context.say(f"{rows} records of {len(sources)} sources in {target}")
    return {
        "annotations": str(target),
        "media": str(root),
        "rows": rows,
        "taken": writer.taken,
        "renamed": writer.renamed,
        "repeated": writer.repeated,
    }


class _Writer:
    """Yields the records of all sources with media names relative to one root, each content once per id."""

    def __init__(self, root: Path) -> None:
        self.taken: dict[str, int] = {}
        self.renamed = self.repeated = 0
        self.problems: list[Problem] = []
        self._root = root
        self._known: dict[str, bytes] = {}

    def merged(self, sources: Sequence[_Opened]) -> Iterator[dict[str, Any]]:
        for source in sources:
            self.taken[source.name] = 0
            wanted = set(source.positions)
            for index, raw in enumerate(stream_records(source.path)):
                if index in wanted and (record := self._rewritten(raw, source, index)) is not None:
                    identity = self._identity(record, source.name)
                    if identity is None:
                        self.repeated += 1
                        continue
                    self.taken[source.name] += 1
                    yield {**record, "id": identity}

    def _identity(self, record: Mapping[str, Any], name: str) -> str | None:
        """Return the id that a record gets; None for one that was written before."""
        digest = _digest({key: value for key, value in record.items() if key != "id"})
        own = record.get("id")
        identity = digest.hex()[:16] if own is None else str(own)
        known = self._known.get(identity)
        if known is not None and known != digest:
            identity = f"{identity}@{name}"
            known = self._known.get(identity)
            self.renamed += known is None
        if known == digest:
            return None
        self._known[identity] = digest
        return identity

    def _rewritten(self, raw: Any, source: _Opened, index: int) -> dict[str, Any] | None:
        prefix = os.path.relpath(source.media, self._root)
        record, issues = examine(raw, RecordRules(""))
        if not isinstance(raw, dict) or any(issue.code.startswith("media_") for issue in issues):
            what = issues[0].code if issues else "record_not_object"
            message = f"Record {record.name(index)} of {source.path} cannot be merged: {what}."
            fix = f"See what is wrong with it: tao-skills data check {source.path}"
            self.problems.append(Problem("record_not_merged", message, fix, str(source.path)))
            return None
        written = {**raw, **{key: _renamed(raw[key], prefix) for key, _ in MEDIA_KEYS if key in raw}}
        wanted = [_name(name, prefix) for media in record.media for name in media.files]
        if [name for media in media_of(written) for name in media.files] == wanted:
            return written
        try:
            return _renamed_plain(llava.plain(record), prefix)
        except llava.NotPlainError as error:
            message = f"Record {record.name(index)} of {source.path} has no plain form: {error}."
            fix = f"Convert the source first: tao-skills data convert {source.path} COPY --to llava"
            self.problems.append(Problem("record_not_plain", message, fix, str(source.path)))
            return None


def _renamed_plain(record: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {**record, **{key: _renamed(record[key], prefix) for key, _ in MEDIA_KEYS if key in record}}


def _renamed(value: Any, prefix: str) -> Any:
    if isinstance(value, list):
        return [_renamed(child, prefix) for child in value]
    return _name(value, prefix) if isinstance(value, str) else value


def _name(name: str, prefix: str) -> str:
    return name if prefix == "." or Path(name).is_absolute() or "://" in name else os.path.normpath(f"{prefix}/{name}")


def _opened(arguments: Arguments) -> list[_Opened]:
    """Return the sources that are given. Raises RequestError or BlockedError with every problem of one kind."""
    names = [source.name or f"source-{number}" for number, source in enumerate(arguments.sources, start=1)]
    problems = [
        Problem("share_invalid", f"The share of {name} is {source.share}.", "Give a number above 0 and up to 1.", name)
        for name, source in zip(names, arguments.sources, strict=True)
        if not 0 < (numbers.finite(source.share) or 0) <= 1
    ]
    if len(set(names)) < len(names):
        problems.append(Problem("source_twice", "Two sources have the same name.", "Name each once.", "sources"))
    if problems:
        raise RequestError(problems)
    given = [pair for pair in zip(names, arguments.sources, strict=True) if pair[1].annotations is not None]
    if not given:
        message = "There is nothing to merge: every source is null."
        raise BlockedError.of("no_sources", message, "Give at least one annotation file.", path="sources")
    return [_open(name, source) for name, source in given]


def _open(name: str, source: Source) -> _Opened:
    found = datasets.placed(cast(datasets.Named, source.annotations), source.media)
    path, folder = found.annotations, found.media
    if not folder.is_dir():
        message = f"The media of {name}, {folder}, are not in a folder."
        raise BlockedError.of("media_root_not_folder", message, "Unpack them, and give their folder.", path=str(folder))
    keys = tuple(_key(raw) for raw in stream_records(path))
    if not keys:
        message = f"{path} holds no records."
        raise BlockedError.of("records_missing", message, "Give annotations with records.", path=str(path))
    return _Opened(name, path, folder, source.share, keys)


def _key(raw: Any) -> str:
    own = raw.get("id") if isinstance(raw, dict) else None
    return _digest(raw).hex() if own is None else str(own)


def _digest(value: Any) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()


def _lineage(source: _Opened, taken: int) -> dict[str, Any]:
    with source.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    facts = {"name": source.name, "annotations": str(source.path), "media": str(source.media), "sha256": digest}
    return {**facts, "share": source.share, "available": len(source.keys), "taken": taken}
