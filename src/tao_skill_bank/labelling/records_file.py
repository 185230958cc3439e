"""The records that are reviewed: of a job that labelled clips, or of any annotation file."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.core import locations
from tao_skill_bank.data import dataset_root
from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.convert import llava
from tao_skill_bank.data.convert.llava import NotPlainError
from tao_skill_bank.data.records.issues import as_error
from tao_skill_bank.data.records.reader import examine
from tao_skill_bank.data.records.values import RecordRules
from tao_skill_bank.data.scan import path_under
from tao_skill_bank.errors import BlockedError, Problem
from tao_skill_bank.jobs.service import JobHandle

MEDIA = "media"  # next to annotations: the folder of their media, or a link to it
RULES = RecordRules(needs_answer=True)
MAX_PROBLEMS = 100


@dataclass(frozen=True)
class Item:
    """A record to be reviewed.

    Attributes:
        key: of its content; another one once the record is another.
        record: plain LLaVA, with one question and its answer last.

    """

    key: str
    record: dict[str, Any]

    @property
    def question(self) -> str:
        """What the last question asks, without media markers; earlier turns before it."""
        turns = [str(turn["value"]) for turn in self.record["conversations"][:-1]]
        return "\n".join(turns).replace("<video>", "").replace("<image>", "").strip()

    @property
    def answer(self) -> str:
        return str(self.record["conversations"][-1]["value"])

    @property
    def media(self) -> str:
        """The name of the record's first video or picture; empty for none that is one file."""
        named = self.record.get("video") or self.record.get("image") or ""
        return named if isinstance(named, str) else ""

    def answered(self, answer: str) -> dict[str, Any]:
        """Return the record with another answer."""
        turns = self.record["conversations"]
        return {**self.record, "conversations": [*turns[:-1], {**turns[-1], "value": answer}]}


@dataclass(frozen=True)
class RecordsFile:
    """An annotation file, the folder of its media, and the digest of its content."""

    path: Path
    media: Path
    sha256: str
    items: tuple[Item, ...]


def locate(target: str, media: Path | None = None) -> tuple[Path, Path]:
    """Return the annotation file of a job, of a run directory or of a path, and the folder of its media.

    Raises:
        UnknownNameError: there is neither such a path nor such a job.

    """
    path = locations.absolute(target)
    if not path.exists():
        path = JobHandle(target).run_directory.path
    if path.is_dir():
        path = path / dataset_root.ANNOTATIONS
    usual = path.parent / MEDIA
    return path, media or (usual if usual.is_dir() else Path(dataset_root.media_in(str(path.parent))))


def read(path: Path, media: Path) -> RecordsFile:
    """Return the records of an annotation file.

    Raises:
        BlockedError: it cannot be read, or records have no answer or are more than plain LLaVA; all of them are listed.

    """
    problems: list[Problem] = []
    items: list[Item] = []
    digest = hashlib.sha256()
    for position, raw in enumerate(stream_records(path)):
        record, issues = examine(raw, RULES)
        if issues:
            problems += as_error(record.name(position), issues, RULES).problems
            continue
        try:
            plain = llava.plain(record)
        except NotPlainError as error:
            message = f"Record {record.name(position)} of {path} is not plain LLaVA: {error}."
            fix = f"tao-skills data convert {path} OUT --to llava, and review that."
            problems.append(Problem("record_not_plain", message, fix, str(path)))
            continue
        key = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
        digest.update(key.encode())
        items.append(Item(key[:16], plain))
    if problems:
        raise BlockedError(problems[:MAX_PROBLEMS])
    if not items:
        fix = "Give annotations with records."
        raise BlockedError.of("no_records", f"{path} has no records to review.", fix, path=str(path))
    unique = {item.key: item for item in items}
    return RecordsFile(path, media, digest.hexdigest(), tuple(unique.values()))


def media_file(media: Path, item: Item) -> Path | None:
    """Return the file that an item shows; None where it is not on this machine."""
    path = Path(path_under(str(media), item.media)) if item.media else None
    return path if path is not None and path.is_file() else None
