"""Gap analysis: results.json of an evaluation -> parquet of the questions that were answered wrongly."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader, regular_files
from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.runs.run_directory import RunDirectory

COLUMNS = ("video_id", "question", "ground_truth", "response", "record_id")
CONSTRAINED_WORDS = 3


@dataclass(frozen=True)
class GapReport:
    """What was found: records read, gaps written, and warnings about the result."""

    records: int
    gaps: int
    parquet: Path
    warnings: tuple[str, ...] = ()


def analyze(results_dir: Path, parquet: Path, annotation: Path | None = None, media: Path | None = None) -> GapReport:
    """Write the gaps of an evaluation and return the counts.

    A gap is a response that differs from the ground truth after `.lower().strip()`. The parquet's columns are
    video_id (full path), question, ground_truth, response, record_id.

    Args:
        results_dir: run directory of an evaluation, or a folder with results.json.
        parquet: file to write.
        annotation: annotation file, for record ids; the run's own by default.
        media: folder that relative video names are below; the run's own by default.

    Raises:
        BlockedError: results.json is missing or malformed, or the parquet cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    entries = _read_results(results_dir / "results.json")
    dataset = _dataset_of(results_dir)
    annotation = annotation or _optional_path(dataset.get("annotation_path"))
    media = media or _optional_path(dataset.get("media_path"))
    ids = _record_ids(annotation) if annotation else {}
    rows = [
        {
            "video_id": _full_path(entry["video_id"], media),
            "question": entry["question"],
            "ground_truth": entry["gt"],
            "response": entry["response"],
            "record_id": ids.get(entry["video_id"], ""),
        }
        for entry in entries
        if normalised(entry["response"]) != normalised(entry["gt"])
    ]
    _write_parquet(rows, parquet)
    return GapReport(len(entries), len(rows), parquet, tuple(_warnings(entries)))


def normalised(text: str) -> str:
    """Return the text by which answers are compared."""
    return text.lower().strip()


def _read_results(path: Path) -> list[dict[str, str]]:
    try:
        entries = json_reader.loads(regular_files.read_bytes(path))
    except (OSError, ValueError) as error:
        fix = "Give the run directory of an evaluation that is COMPLETE."
        raise BlockedError.of("results_unreadable", f"{path} cannot be read: {error}", fix, path=str(path)) from None
    if not isinstance(entries, list):
        raise _malformed(path, "it is not a list")
    for index, entry in enumerate(entries):
        fields = entry if isinstance(entry, dict) else {}
        missing = [key for key in ("video_id", "question", "response", "gt") if not isinstance(fields.get(key), str)]
        if missing:
            raise _malformed(path, f"entry {index} lacks {', '.join(missing)}")
    return entries


def _malformed(path: Path, why: str) -> Exception:
    message = f"{path} holds no evaluation results: {why}."
    return BlockedError.of("results_malformed", message, "Evaluate again.", path=str(path))


def _dataset_of(results_dir: Path) -> dict[str, Any]:
    """Return the paths of the input that the plan of the run evaluates on, {annotation_path, media_path} of records."""
    inputs = RunDirectory(results_dir).plan_document().get("job", {}).get("workload", {}).get("inputs")
    given = [entry for entry in inputs if isinstance(entry, dict)] if isinstance(inputs, list) else []
    named = (entry.get("paths") for entry in given if entry.get("role") == "eval")
    return next((paths for paths in named if isinstance(paths, dict)), {})


def _optional_path(name: Any) -> Path | None:
    return Path(name) if isinstance(name, str) else None


def _record_ids(annotation: Path) -> dict[str, str]:
    ids = {}
    for record in stream_records(annotation):
        for medium in media_of(record):
            ids[medium.name] = str(record.get("id", ""))
    return ids


def _full_path(name: str, media: Path | None) -> str:
    path = Path(name)
    return str(path if path.is_absolute() or media is None else (media / path).absolute())


def _warnings(entries: Sequence[dict[str, str]]) -> list[str]:
    long = [entry for entry in entries if len(entry["response"].split()) > CONSTRAINED_WORDS]
    if entries and 2 * len(long) > len(entries):
        return [
            f"{len(long)} of {len(entries)} responses are longer than {CONSTRAINED_WORDS} words: the answers look "
            "unconstrained, so exact match counts right answers as gaps. Make the questions ask for a short answer."
        ]
    return []


def _write_parquet(rows: list[dict[str, str]], path: Path) -> None:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError.for_module("pyarrow", "train") from None
    table = arrow.Table.from_pylist(rows, schema=arrow.schema([(name, arrow.string()) for name in COLUMNS]))
    try:
        parquet.write_table(table, path)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}."
        raise BlockedError.of("parquet_not_written", message, "Give a writable path.", path=str(path)) from None
