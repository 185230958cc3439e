"""Scores of generated videos, as the evaluation of a video generator leaves them in results.json."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader, numbers, regular_files
from tao_skill_bank.errors import BlockedError

RESULTS = "results.json"
FIX = "Give the run directory of a generation, or of an evaluation of its videos, that is COMPLETE."


@dataclass(frozen=True)
class Score:
    """One score of a video; None where it could not be measured."""

    name: str
    variant: str
    seed: Any
    value: float | None


def entries(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of a run's results. Raises BlockedError."""
    path = folder / RESULTS
    try:
        found = json_reader.loads(regular_files.read_bytes(path))
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise ValueError("it is not a list of objects")
    except (OSError, ValueError) as error:
        raise BlockedError.of("results_unreadable", f"{path} cannot be read: {error}", FIX, path=str(path)) from None
    return found


def of(folder: Path, metric: str) -> list[Score]:
    """Return the scores of a metric. Raises BlockedError without results, or without such a metric."""
    found = []
    for entry in entries(folder):
        if metric not in entry:
            known = ", ".join(name for name, value in entry.items() if isinstance(value, dict)) or "none"
            message = f"{folder / RESULTS} has no score '{metric}'."
            raise BlockedError.of("metric_missing", message, f"Use one of: {known}.", path=str(folder / RESULTS))
        score = entry[metric]
        value = numbers.finite(score.get("mean") if isinstance(score, dict) else score)
        found.append(Score(str(entry.get("name")), str(entry.get("variant")), entry.get("seed"), value))
    return found
