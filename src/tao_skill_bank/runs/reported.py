"""What the lines of status.jsonl say together, read once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tao_skill_bank.runs.last_word import LastWord
from tao_skill_bank.runs.run_directory import epoch_seconds


@dataclass
class Reported:
    """The first line and the one that counts, the newest step, and the time between the earliest and the latest line.

    The newest step is not the largest: phases before the training count their own steps.
    """

    started_at: str = ""
    last: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    duration_seconds: float | None = None


def read(lines: Iterable[Mapping[str, Any]], *, is_failure_marked: bool = False) -> Reported:
    """Return what the lines of status.jsonl, as `RunDirectory.status_lines` yields them, say together."""
    seen, word = Reported(), LastWord()
    earliest, latest = float("inf"), float("-inf")
    for number, line in enumerate(lines):
        if number == 0 and line.get("time") is not None:
            seen.started_at = str(line["time"])
        if (moment := epoch_seconds(line.get("time"))) is not None:
            earliest = min(earliest, moment)
            latest = max(latest, moment)
        if line.get("step") is not None:
            seen.step = line["step"]
        word.read(line)
    seen.last = word.of(is_marked=is_failure_marked)
    if earliest <= latest:
        seen.duration_seconds = round(latest - earliest, 3)
    return seen
