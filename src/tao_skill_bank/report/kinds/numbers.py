"""Numbers only: the values of results.json beyond the metrics, by path."""

from collections.abc import Iterator, Sequence
from typing import Any

from tao_skill_bank.report.views import RunView

MAX_SHOWN = 60


def view(runs: Sequence[RunView]) -> dict[str, Any]:
    """Return every number of the results of each run, named by its path."""
    tables = []
    for run in runs:
        details = run.evaluation.details if run.evaluation else {}
        rows = list(_numbers(details))
        if rows:
            tables.append((run.title, rows[:MAX_SHOWN], len(rows)))
    return {"tables": tables}


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, child in value.items():
            yield from _numbers(child, f"{path}.{name}" if path else str(name))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value
