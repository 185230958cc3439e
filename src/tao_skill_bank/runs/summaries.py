"""What metrics_summary.json says: every field in its type (`result_documents.MetricsSummary`), others are left out."""

from collections.abc import Callable, Mapping
from typing import Any

from tao_skill_bank.core import numbers
from tao_skill_bank.runs.run_directory import RunDirectory, read_object

FINDING_TEXTS = ("code", "severity", "message", "fix", "path")


def read(run: RunDirectory) -> dict[str, Any]:
    """Return the summary of an evaluation; empty where there is none."""
    return plain(read_object(run.path / "metrics_summary.json"))


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known fields that have their type, and of lists and objects the parts that have theirs."""
    found = {name: FORMS[name](value) for name, value in document.items() if name in FORMS}
    return {name: value for name, value in found.items() if value is not None}


def findings(listed: Any) -> list[dict[str, str]]:
    """Return the findings in a list as texts: code, severity, message, fix and path, each perhaps empty."""
    entries = listed if isinstance(listed, list) else []
    named = (entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("message"), str))
    return [{name: _text(entry.get(name)) or "" for name in FINDING_TEXTS} for entry in named]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> dict[str, str]:
    return {str(name): text for name, text in _items(value) if isinstance(text, str)}


def _numbers(value: Any) -> dict[str, float | None]:
    """Return the numbers of an object and its nulls; a number that is not finite is None."""
    return {
        name: numbers.finite(held) for name, held in _items(value) if held is None or isinstance(held, (int, float))
    }


def _tables(value: Any) -> dict[str, dict[str, float | None]]:
    return {name: _numbers(row) for name, row in _items(value) if isinstance(row, dict) and row}


def _matrix(value: Any) -> dict[str, Any] | None:
    """Return labels and rows of a confusion matrix, where every row has a count for every label."""
    document = dict(_items(value))
    labels, rows = document.get("labels"), document.get("matrix")
    if not isinstance(labels, list) or not isinstance(rows, list):
        return None
    counts = [[numbers.count(number) for number in row] if isinstance(row, list) else [None] for row in rows]
    is_whole = all(len(row) == len(labels) and None not in row for row in counts) and len(counts) <= len(labels)
    return {"labels": [str(label) for label in labels], "matrix": counts} if is_whole else None


def _intervals(value: Any) -> dict[str, tuple[float, float]]:
    ends = {name: _numbers(held) for name, held in _items(value)}
    known = {name: (held.get("low"), held.get("high")) for name, held in ends.items()}
    return {name: (low, high) for name, (low, high) in known.items() if low is not None and high is not None}


def _bins(value: Any) -> list[dict[str, float | None]]:
    listed = dict(_items(value)).get("bins")
    bins = [_numbers(entry) for entry in listed] if isinstance(listed, list) else []
    return [entry for entry in bins if all(entry.get(name) is not None for name in ("low", "high", "count"))]


def _items(value: Any) -> Any:
    return value.items() if isinstance(value, dict) else ()


FORMS: dict[str, Callable[[Any], Any]] = {
    "kind": _text,
    "task": _text,
    "num_samples": numbers.count,
    "num_records": numbers.count,
    "metrics": _numbers,
    "units": _texts,
    "not_computed": _texts,
    "per_class": _tables,
    "confusion_matrix": _matrix,
    "intervals": _intervals,
    "calibration": _bins,
    "notes": _texts,
    "findings": findings,
}
