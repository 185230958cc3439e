"""Finds the records of an annotation file by video and question: sorted 64-bit hashes in memory, texts in a file.

Two different ones of five million share a hash with a chance of one in a million. Hashes are salted per process.
"""

import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.records import reader
from tao_skill_bank.data.records.usual import ASSISTANT, ENDINGS, RARER_KEYS, USER
from tao_skill_bank.data.scan import path_under
from tao_skill_bank.runs.gaps.text import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

By = Literal["video", "id"]
Asked = tuple[str, str, Sequence[str]]  # id, first medium and questions of a record
RECORDS_PER_BATCH = 256
NONE = -1
SEPARATOR = "\0"


@dataclass(frozen=True)
class Found:
    """A record: its id, empty where it has none, and the path of its first medium."""

    record_id: str
    video: str


@dataclass
class RecordIndex:
    """The questions of all records of one file.

    Attributes:
        root: what names of media are below.
        by: whether results name the videos of records, or the records themselves.
        texts: id and path of each record, in the order of the file.

    """

    root: str
    by: By
    texts: IO[bytes]
    num_records: int = 0
    _keys: "array[int]" = field(default_factory=lambda: array("q"))
    _owners: "array[int]" = field(default_factory=lambda: array("l"))
    _starts: "array[int]" = field(default_factory=lambda: array("q", [0]))
    _sorted: "tuple[Integers, Integers] | None" = None

    def find(self, names: Sequence[str], questions: Sequence[str]) -> "Integers":
        """Return the position of the record of each question; NONE where there is none."""
        import numpy as np

        assert self._sorted is not None
        keys, owners = self._sorted
        if self.by == "video":
            names = [self._path(name) if name else "" for name in names]
        wanted = np.fromiter(map(hash, zip(names, map(plain, questions), strict=True)), np.int64, len(names))
        found = np.full(len(wanted), NONE, np.int64)
        if len(keys):
            order = np.argsort(wanted)  # neighbours are looked up in neighbouring memory
            places = np.searchsorted(keys, wanted[order]).clip(max=len(keys) - 1)
            found[order] = np.where(keys[places] == wanted[order], owners[places], NONE)
        return found

    def has_any(self, names: Sequence[str], questions: Sequence[str]) -> bool:
        """Return whether any of the questions is one of a record."""
        return bool((self.find(names, questions) != NONE).any())

    def record(self, position: int) -> Found:
        """Return a record by its position."""
        start, end = self._starts[position], self._starts[position + 1]
        text = os.pread(self.texts.fileno(), end - start, start).decode("utf-8", "replace")
        record_id, _, video = text.partition(SEPARATOR)
        return Found(record_id, video)

    def fill(self, records: Iterator[Any]) -> None:
        """Take in all records of the file, once."""
        asked = map(_read, records)  # one by one: what is kept of a record is a fraction of it
        while batch := list(islice(asked, RECORDS_PER_BATCH)):
            self._take(batch)
        self.texts.flush()
        self._sort()

    def _take(self, records: "list[Asked]") -> None:
        paths = [self._path(name) if name else "" for _, name, _ in records]
        names = paths if self.by == "video" else [identity for identity, _, _ in records]
        for owner, (name, (_, _, questions)) in enumerate(zip(names, records, strict=True), start=self.num_records):
            for question in questions:
                self._keys.append(hash((name, plain(question))))
                self._owners.append(owner)
        lines = [f"{record[0]}{SEPARATOR}{path}" for record, path in zip(records, paths, strict=True)]
        texts = [line.encode("utf-8", "replace") for line in lines]
        self.texts.write(b"".join(texts))
        self._starts.extend(islice(accumulate(map(len, texts), initial=self._starts[-1]), 1, None))
        self.num_records += len(records)

    def _path(self, name: str) -> str:
        return path_under(self.root, name) if "./" in name or "//" in name or name[0] == "/" else f"{self.root}/{name}"

    def _sort(self) -> None:
        import numpy as np

        keys = np.frombuffer(self._keys, np.int64) if self._keys else np.empty(0, np.int64)
        order = keys.argsort(kind="stable")  # of equal questions, the first
        owners = np.frombuffer(self._owners, np.dtype("l")) if self._owners else keys
        self._sorted = keys[order], owners[order]
        del keys, owners
        self._keys, self._owners = array("q"), array("l")


@contextmanager
def opened(annotation: Path, root: str, by: By, folder: Path) -> Iterator[RecordIndex]:
    """Give the index of an annotation file; its texts are in a file without a name in `folder`.

    Raises:
        BlockedError: the annotations cannot be read.
        OSError: the folder cannot be written.

    """
    with tempfile.TemporaryFile(dir=folder, buffering=1 << 20) as texts:
        index = RecordIndex(root, by, texts)
        index.fill(stream_records(annotation))
        yield index


def _read(raw: Any) -> Asked:
    """Return the id, the first medium and the questions of a record: the user turns that are answered."""
    if usual := _usual(raw):
        return usual
    record, _ = reader.examine(raw, reader.ANY_KEY)
    turns = record.turns
    asked = [index - 1 for index in record.answers if index and turns[index - 1].role == "user"]
    name = record.media[0].name if record.media else ""
    return record.id or "", name, [turns[index].text for index in asked]


def _usual(raw: Any) -> Asked | None:
    """Return the same of a record with one video, a question and an answer, as nearly all are; None for others."""
    try:
        asked, answer = raw["conversations"]
        identity, name, question = raw["id"], raw["video"], asked["value"]
        is_usual = (
            type(identity) is type(name) is type(question) is str
            and len(asked) == len(answer) == 2
            and asked["from"] in USER
            and answer["from"] in ASSISTANT
            and RARER_KEYS.isdisjoint(raw)
            and name.endswith(ENDINGS)
            and ":" not in name
            and "\\" not in name
        )
    except (KeyError, TypeError, ValueError):
        return None
    return (identity, name, (question,)) if is_usual else None
