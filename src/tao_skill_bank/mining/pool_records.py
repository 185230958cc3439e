"""The records of a labelled pool: which of them show a clip, their classes, and their sources."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill_bank.data import dataset_root
from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.records import reader
from tao_skill_bank.data.records.values import RecordRules
from tao_skill_bank.data.scan import path_under, records_at
from tao_skill_bank.errors import BlockedError, Problem
from tao_skill_bank.runs.gaps.text import normalised

ANY_KEY = RecordRules(conversations_key="")


@dataclass
class Annotations:
    """What is kept of every record of an annotation file.

    Attributes:
        path: the file.
        media: the folder that its names are below.
        ids, classes, sources: of every record; "" where it has none.
        by_file: media file -> positions of the records that show it.

    """

    path: Path
    media: str
    ids: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    by_file: dict[str, list[int]] = field(default_factory=dict)

    def of_ids(self) -> dict[str, list[int]]:
        """Return the positions of the records of each id."""
        found: dict[str, list[int]] = {}
        for position, identity in enumerate(self.ids):
            found.setdefault(identity, []).append(position)
        return found

    def rows(self, paths: Sequence[str | None], record_ids: Sequence[str | None]) -> list[list[int]]:
        """Return the records of each row of embeddings: those of its id, where it names one, else of its file."""
        by_id = self.of_ids() if any(record_ids) else {}
        return [
            by_id.get(identity, []) if identity else self.by_file.get(path or "", [])
            for path, identity in zip(paths, record_ids, strict=True)
        ]


def read(path: Path, media: Path | None, source_key: str = "") -> Annotations:
    """Read an annotation file. Raises BlockedError where it cannot be read.

    Args:
        path: the file.
        media: folder that its media names are below; the file's folder by default.
        source_key: the key of a record that says where its clip comes from.

    """
    root = str(media.absolute()) if media else dataset_root.media_in(str(path.absolute().parent))
    found = Annotations(path, root)
    same: dict[str, str] = {}
    for position, raw in enumerate(stream_records(path)):
        identity = raw.get("id") if isinstance(raw, dict) else None
        source = raw.get(source_key) if source_key and isinstance(raw, dict) else None
        name = normalised(_answer(raw))
        found.ids.append("" if identity is None else str(identity))
        found.classes.append(same.setdefault(name, name))
        found.sources.append("" if source is None else str(source))
        for medium in reader.media_of(raw):
            for file in medium.files:
                found.by_file.setdefault(path_under(root, file), []).append(position)
    return found


def with_whole_names(annotations: Annotations, positions: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Return records as they are in the file, but with absolute names of media, so that sets can be merged.

    Raises:
        BlockedError: a record has no id, or two of them share one, or its media are named in parts of its content.

    """
    records = records_at(str(annotations.path), positions)
    whole: dict[int, dict[str, Any]] = {}
    problems: list[Problem] = []
    by_id: dict[str, dict[str, Any]] = {}
    for position, raw in sorted(records.items()):
        name = reader.record_name(raw, position)
        record = {key: _absolute(value, key, annotations.media) for key, value in raw.items()}
        identity = annotations.ids[position]
        if not identity:
            message = f"Record {name} of {annotations.path} has no id, by which mined records are merged."
            problems.append(
                Problem("id_missing", message, "Give every record of the pool an id.", str(annotations.path))
            )
        elif by_id.setdefault(identity, record) != record:
            message = f"Two different records of {annotations.path} have the id {identity}, and both were mined."
            problems.append(
                Problem("id_conflict", message, "Give every record an id of its own.", str(annotations.path))
            )
        elif any(not file.startswith("/") for medium in reader.media_of(record) for file in medium.files):
            message = f"Record {name} of {annotations.path} names its media in the parts of its content."
            fix = f"tao-skills data convert {annotations.path} OUT --to llava, and mine that."
            problems.append(Problem("record_not_plain", message, fix, str(annotations.path)))
        whole[position] = record
    if problems:
        raise BlockedError(problems[:100])
    return whole


def _absolute(value: Any, key: str, root: str) -> Any:
    if key not in ("video", "videos", "image", "images"):
        return value
    if isinstance(value, list):
        return [_absolute(each, key, root) for each in value]
    return path_under(root, value.removeprefix("file://")) if isinstance(value, str) and value else value


def _answer(raw: Any) -> str:
    """Return the last answer of a record; "" where it has none."""
    turns = raw.get("conversations") if isinstance(raw, dict) else None
    last = turns[-1] if isinstance(turns, list) and turns else None
    if isinstance(last, dict) and last.get("from") == "gpt" and isinstance(last.get("value"), str):
        return str(last["value"])  # nearly always
    record, _ = reader.examine(raw, ANY_KEY)
    return record.turns[record.answers[-1]].text if record.answers else ""
