"""What the lines of status.jsonl say together, read once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tao_skill_bank.runs.run_directory import epoch_seconds


@dataclass
class Reported:
    """The first and the last line, the newest step, and the time between the earliest and the latest line.

    The newest step is not the largest: phases before the training count their own steps.
    """

    started_at: str = ""
    last: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    duration_seconds: float | None = None


def read(lines: Iterable[Mapping[str, Any]]) -> Reported:
    """Return what the lines of status.jsonl, as `RunDirectory.status_lines` yields them, say together."""
    seen = Reported()
    earliest, latest = float("inf"), float("-inf")
    for number, line in enumerate(lines):
        if number == 0 and line.get("time") is not None:
            seen.started_at = str(line["time"])
        if (moment := epoch_seconds(line.get("time"))) is not None:
            earliest, latest = min(earliest, moment), max(latest, moment)
        if line.get("step") is not None:
            seen.step = line["step"]
        seen.last = line
    if earliest <= latest:
        seen.duration_seconds = round(latest - earliest, 3)
    return seen
