"""The queries of a mining: the failures of an evaluation, each with the embedding of its clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import MAX_LISTED, listed, warning
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.mining.embeddings import Embeddings
from tao_skill_bank.runs.gaps.text import normalised, plain

if TYPE_CHECKING:
    from tao_skill_bank.mining.arrays import Mask

GAP_COLUMNS = ("video_id", "question", "ground_truth")


@dataclass(frozen=True)
class Query:
    """One failure, or one clip of which others like it are wanted.

    Attributes:
        row: of its embedding in the parquet of queries.
        ground_truth: the right answer; empty where there are no gaps.

    """

    row: int
    filepath: str
    question: str = ""
    record_id: str = ""
    ground_truth: str = ""

    @property
    def class_name(self) -> str:
        """What classes are compared by."""
        return normalised(self.ground_truth)


@dataclass(frozen=True)
class Queries:
    """The queries, in the order of the gaps, and what is to be known of those that are not used."""

    used: tuple[Query, ...]
    findings: tuple[Finding, ...] = ()

    def usable(self, is_usable: "Mask", path: Path) -> "Queries":
        """Return those whose embedding can be compared; `is_usable` is of the rows of their file.

        Raises:
            BlockedError: there is none.

        """
        bad = [query for query in self.used if not is_usable[query.row]]
        if not bad:
            return self
        used = tuple(query for query in self.used if is_usable[query.row])
        names = list(dict.fromkeys(query.filepath for query in bad))
        message = f"{len(bad)} queries of {path} have an embedding that is zero or not finite: {listed(names)}."
        fix = "Embed these clips again."
        if not used:
            raise BlockedError.of("queries_unusable", message, fix, path=str(path))
        found = warning("queries_unusable", message, fix, str(path), count=len(bad), files=names[:MAX_LISTED])
        return replace(self, used=used, findings=(*self.findings, found))


def of_embeddings(embeddings: Embeddings, gaps: Path | None) -> Queries:
    """Return the queries: every row of the embeddings, or the rows of the gaps.

    A gap is found by its clip and question; by its clip alone where the embedding is of the clip alone.

    Raises:
        BlockedError: the gaps cannot be read, there are none, or none has an embedding.

    """
    rows = list(_rows(embeddings))
    if gaps is None:
        return Queries(tuple({(each.filepath, each.question): each for each in reversed(rows)}.values())[::-1])
    places = {(each.filepath, plain(each.question)): each for each in reversed(rows)}
    used, without = [], []
    for gap in _read(gaps):
        name, question = gap["video_id"], gap["question"]
        found = places.get((name, plain(question))) or places.get((name, ""))
        if found is None:
            without.append(name)
            continue
        truth, record = gap["ground_truth"], gap.get("record_id") or found.record_id
        used.append(replace(found, question=question, ground_truth=truth, record_id=record))
    findings = [_without_embedding(without, embeddings.path, gaps)] if without else []
    if not used:
        raise BlockedError.of("gaps_not_embedded", findings[0].message, findings[0].fix, path=str(gaps))
    return Queries(tuple(used), tuple(findings))


def _rows(embeddings: Embeddings) -> Iterator[Query]:
    columns = [embeddings.texts(name).to_pylist() for name in ("filepath", "question", "record_id")]
    for row, (filepath, question, record_id) in enumerate(zip(*columns, strict=True)):
        yield Query(row, filepath or "", question or "", record_id or "")


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a parquet of gaps. Raises BlockedError."""
    import pyarrow as arrow
    from pyarrow import parquet

    fix = "Give the parquet of the gaps of an evaluation: video_id, question, ground_truth."
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if missing := [name for name in GAP_COLUMNS if name not in names]:
                message = f"{path} lacks the column {', '.join(missing)}: it is not a file of gaps."
                raise BlockedError.of("gaps_malformed", message, fix, path=str(path))
            table = file.read(columns=[*GAP_COLUMNS, *(["record_id"] if "record_id" in names else [])])
    except (arrow.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise BlockedError.of("gaps_unreadable", f"{path} cannot be read: {reason}.", fix, path=str(path)) from None
    if not table.num_rows:
        message = f"{path} has no gaps: the model answered every question of the KPI set."
        raise BlockedError.of("gaps_missing", message, "There is nothing to mine for.", path=str(path))
    rows: list[dict[str, Any]] = table.to_pylist()
    for number, row in enumerate(rows):
        if wrong := [name for name in GAP_COLUMNS if not isinstance(row[name], str)]:
            message = f"Row {number} of {path} has no text in {', '.join(wrong)}."
            raise BlockedError.of("gaps_malformed", message, fix, path=str(path))
    return rows


def _without_embedding(names: Sequence[str], path: Path, gaps: Path) -> Finding:
    different = list(dict.fromkeys(names))
    message = f"{len(names)} gaps of {gaps} have no embedding in {path}: {listed(different)}."
    fix = "Embed the KPI set that was evaluated; its filepath must be the gap's video_id, an absolute path."
    return warning("gaps_not_embedded", message, fix, str(path), count=len(names), files=different[:MAX_LISTED])
