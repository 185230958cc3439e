"""The gaps on disk: spooled as they are found, then written as parquet and JSON lines with what all of them decide."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from tao_skill_bank.core import unfinished
from tao_skill_bank.core.json_reader import LONE
from tao_skill_bank.errors import MissingExtraError
from tao_skill_bank.runs.gaps.readings import Reading, Readings
from tao_skill_bank.runs.gaps.report import Cluster
from tao_skill_bank.runs.gaps.text import normalised, plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

COLUMNS = (
    *("video_id", "question", "ground_truth", "response", "record_id"),
    *("error_type", "parsed_answer", "confidence", "cluster"),
)
ROWS_PER_BATCH = 1024  # few: what is freed at once and allocated again costs page faults
ROWS_PER_GROUP = 32_768
SHOWN_CLUSTERS = 10
TEXTS = ("video_id", "question", "ground_truth", "response", "record_id", "verdict", "read_as")


class Gap(NamedTuple):
    """One wrong answer as the results have it, with the path of its video and the id of its record."""

    video_id: str
    question: str
    ground_truth: str
    response: str
    record_id: str
    verdict: str | None
    read_as: str | None
    is_cut: bool
    confidence: float | None


class Spool:
    """Gaps in a temporary file, in the order of the results."""

    def __init__(self, file: IO[bytes]) -> None:
        arrow = _arrow()
        texts = [(name, arrow.string()) for name in TEXTS]
        self._schema = arrow.schema([*texts, ("is_cut", arrow.bool_()), ("confidence", arrow.float64())])
        self._file = file
        self._writer = arrow.ipc.new_stream(file, self._schema)
        self._rows: list[Gap] = []
        self.count = 0

    def add(self, gap: Gap) -> None:
        """Keep a gap."""
        self._rows.append(gap)
        self.count += 1
        if len(self._rows) == ROWS_PER_BATCH:
            self._flush()

    def finish(self) -> None:
        """Write what is left; nothing is added afterwards."""
        if self._rows:
            self._flush()
        self._writer.close()
        self._file.flush()

    def batches(self) -> Iterator[Any]:
        """Yield the gaps as record batches."""
        self._file.seek(0)
        yield from _arrow().ipc.open_stream(self._file)

    def _flush(self) -> None:
        arrow = _arrow()
        columns = []
        for each, values in zip(self._schema, zip(*self._rows, strict=True), strict=True):
            columns.append(arrow.array(map(_whole, values) if each.name in TEXTS else values, each.type))
        self._writer.write_batch(arrow.record_batch(columns, schema=self._schema))
        self._rows.clear()


@dataclass
class Written:
    """What the written gaps have in common."""

    error_types: Counter[str] = field(default_factory=Counter)
    clusters: list[Cluster] = field(default_factory=list)


def write(spool: Spool, readings: Readings, parquet: Path, kpi_gaps: Path | None) -> Written:
    """Write a finished spool; each file appears whole or not at all. Raises OSError."""
    numbers = _Clusters.of(spool, readings)
    written = Written()
    targets = [parquet, *([kpi_gaps] if kpi_gaps else [])]
    works = [unfinished.next_to(target) for target in targets]
    try:
        _write(spool, readings, numbers, works, written)
        for work, target in zip(works, targets, strict=True):
            _sync(work)
            work.replace(target)
    finally:
        for work in works:
            work.unlink(missing_ok=True)
    return written


def _write(spool: Spool, readings: Readings, numbers: "_Clusters", works: list[Path], written: Written) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    types = dict.fromkeys(COLUMNS, arrow.string()) | {"confidence": arrow.float64(), "cluster": arrow.int64()}
    schema = arrow.schema(list(types.items()))
    with ExitStack() as stack:
        writer = stack.enter_context(parquet.ParquetWriter(works[0], schema))
        lines = stack.enter_context(works[1].open("x", encoding="utf-8")) if len(works) > 1 else None
        first, group = 0, []
        for batch in spool.batches():
            found = list(_readings(batch, readings))
            clusters = numbers.of_rows[first : first + len(found)]
            written.error_types.update(each.error_type for each in found)
            written.clusters += numbers.shown(batch, found, first)
            own = {
                "error_type": arrow.array([each.error_type for each in found], arrow.string()),
                "parsed_answer": arrow.array([each.parsed for each in found], arrow.string()),
                "cluster": arrow.array(clusters, arrow.int64(), mask=clusters == 0),
            }
            columns = [own[name] if name in own else batch.column(name) for name in COLUMNS]
            group.append(arrow.record_batch(columns, schema=schema))
            if lines:
                lines.writelines(_kpi_lines(batch, found, readings))
            first += len(found)
            if first % ROWS_PER_GROUP == 0:
                writer.write_table(arrow.Table.from_batches(group))
                group.clear()
        if group:
            writer.write_table(arrow.Table.from_batches(group))
    written.clusters.sort(key=lambda each: each.cluster)


class _Clusters:
    """The cluster of every gap, numbered by size; 0 for a gap that is like no other."""

    def __init__(self, of_rows: "Integers", examples: dict[int, int], sizes: dict[int, int]) -> None:
        self.of_rows = of_rows
        self._examples = examples  # first row -> number, of those that are shown
        self._sizes = sizes

    @classmethod
    def of(cls, spool: Spool, readings: Readings) -> "_Clusters":
        import numpy as np

        parts = [np.empty(0, np.int64)]
        for batch in spool.batches():
            questions, truths = (batch.column(name).to_pylist() for name in ("question", "ground_truth"))
            keys = (
                hash((plain(question).lower(), normalised(truth), found.parsed))
                for question, truth, found in zip(questions, truths, _readings(batch, readings), strict=True)
            )
            parts.append(np.fromiter(keys, np.int64, len(questions)))
        _, first, inverse, counts = np.unique(
            np.concatenate(parts), return_index=True, return_inverse=True, return_counts=True
        )
        order = np.lexsort((first, -counts))
        order = order[counts[order] > 1]
        numbers = np.zeros(len(counts), np.int64)
        numbers[order] = np.arange(1, len(order) + 1)
        shown = {int(first[each]): int(numbers[each]) for each in order[:SHOWN_CLUSTERS]}
        sizes = {int(numbers[each]): int(counts[each]) for each in order[:SHOWN_CLUSTERS]}
        return cls(numbers[inverse], shown, sizes)

    def shown(self, batch: Any, found: list[Reading], first: int) -> Iterator[Cluster]:
        """Yield the clusters whose first gap is in a batch, as far as they are shown."""
        for row, number in self._examples.items():
            if first <= row < first + len(found):
                question, truth = (batch.column(name)[row - first].as_py() for name in ("question", "ground_truth"))
                yield Cluster(number, self._sizes[number], plain(question), truth, found[row - first].parsed)


def _readings(batch: Any, readings: Readings) -> Iterator[Reading]:
    names = ("response", "ground_truth", "verdict", "read_as", "is_cut")
    columns = [batch.column(name).to_pylist() for name in names]
    for response, truth, verdict, read_as, is_cut in zip(*columns, strict=True):
        yield readings.of(response, truth, (verdict, read_as), is_cut=is_cut)


def _kpi_lines(batch: Any, found: list[Reading], readings: Readings) -> Iterator[str]:
    names = ("video_id", "question", "ground_truth", "response")
    columns = [batch.column(name).to_pylist() for name in names]
    for video, question, truth, response, reading in zip(*columns, found, strict=True):
        error_type = readings.kpi_error_type(truth, reading)
        values = {"video_id": video, "error_type": error_type, "question": question}
        line = {**values, "ground_truth": truth, "response": response}
        yield f"{json.dumps(line, ensure_ascii=False)}\n"


def _whole(text: str | None) -> str | None:
    """Return a text without half characters, which no file can hold."""
    return text if text is None or text.isascii() else LONE.sub("\ufffd", text)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError.for_module("pyarrow", "train") from None
    return pyarrow
