"""Writes what a run has embedded: the parquet, its counts and their summary."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import listed, warning
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason.embedding import table
from tao_skill_bank.models.cosmos_reason.embedding.rows import Row
from tao_skill_bank.models.cosmos_reason.embedding.work import Work
from tao_skill_bank.models.cosmos_reason.saved_answers import write_json
from tao_skill_bank.runs.run_directory import EMBEDDINGS_FILE

UNITS = {
    "rows": "rows",
    "clips": "clips",
    "records": "records",
    "left_out": "records",
    "reused": "rows",
    "cached_features": "rows",
    "dimension": "values",
    "rows_per_second": "rows/s",
}


@dataclass(frozen=True)
class Counts:
    """What is in the file, by the names of UNITS.

    Attributes:
        clips: different files that rows stand for.
        reused: rows that an earlier run had embedded.
        cached_features: rows whose media were not encoded again.
        rows_per_second: of those embedded now, over the whole run; None without any.

    """

    rows: int
    clips: int
    records: int
    left_out: int
    reused: int
    cached_features: int
    dimension: int
    rows_per_second: float | None


def write(work: Work, vectors: Mapping[str, Any], num_reused: int, num_cached: int) -> str:
    """Write embeddings.parquet, results.json and metrics_summary.json; return the closing message.

    Raises:
        BlockedError: nothing was embedded.

    """
    there = [position for position, key in enumerate(work.keys) if key in vectors]
    if not there:
        message = "Every row was left out, because none could be read."
        raise BlockedError.of("nothing_to_embed", message, "Repair the media that skipped_records.json lists.")
    rows, found = [work.rows[position] for position in there], [vectors[work.keys[position]] for position in there]
    texts = [_texts(work, position) for position in there]
    table.write(work.run.results_dir / EMBEDDINGS_FILE, texts, found, work.space.settings)
    num_new = len(rows) - num_reused
    counts = Counts(
        rows=len(rows),
        clips=len({row.file for row in rows if row.file is not None}),
        records=len(work.records),
        left_out=len(work.log.entries),
        reused=num_reused,
        cached_features=num_cached,
        dimension=len(found[0]),
        rows_per_second=round(num_new / (time.monotonic() - work.began), 3) if num_new else None,
    )
    _write_summary(work, counts, _findings(rows, found))
    noted = f", {counts.reused} of them before" if counts.reused else ""
    left = f"; {counts.left_out} records were left out" if counts.left_out else ""
    kind = work.config.embedding.kind
    return f"Embedded {counts.rows} rows of {counts.clips} clips ({kind}, {counts.dimension} values){noted}{left}."


def _texts(work: Work, position: int) -> dict[str, str | None]:
    row = work.rows[position]
    return {
        "filepath": None if row.file is None else str((work.records.folder / row.file).absolute()),
        "modality": row.modality,
        "question": row.question,
        "record_id": row.record_id,
        "content_sha256": work.contents[position],
    }


def _write_summary(work: Work, counts: Counts, findings: Sequence[Finding]) -> None:
    embedding = work.config.embedding
    numbers = asdict(counts)
    write_json(work.run.results_dir / "results.json", {"file": EMBEDDINGS_FILE, **dict(work.space.settings), **numbers})
    summary = {
        "kind": "numbers",
        "task": f"{embedding.kind} embeddings",
        "metrics": {name: value for name, value in numbers.items() if value is not None},
        "units": UNITS,
        "num_samples": counts.rows,
        "num_records": counts.records,
        "findings": [asdict(finding) for finding in findings],
    }
    write_json(work.run.results_dir / "metrics_summary.json", summary)


def _findings(rows: Sequence[Row], vectors: Sequence[Any]) -> list[Finding]:
    """Return a warning where vectors are not finite: mining leaves them out."""
    import numpy as np

    names = [row.file or row.name for row, vector in zip(rows, vectors, strict=True) if not np.isfinite(vector).all()]
    if not names:
        return []
    message = f"{len(names)} embeddings are not finite: {listed(names, len(names))}."
    fix = "Set model.dtype=bfloat16 or float32, or look at these clips."
    return [warning("embeddings_not_finite", message, fix, count=len(names))]
