"""The run directory's two logs: status.jsonl records the state of the job, metrics.jsonl its numbers.

One JSON object per line, flushed as it is written, so that a reader may follow a run and a kill loses nothing.
"""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tao_skill_bank.core.redact import masked
from tao_skill_bank.errors import Problem
from tao_skill_bank.runs import fencing

State = Literal["STARTED", "RUNNING", "SUCCESS", "FAILURE"]


@dataclass(frozen=True)
class Diagnosis:
    """Why a run failed and how to fix it, in `cure`."""

    code: str
    cause: str
    cure: str

    @classmethod
    def of(cls, problem: Problem) -> "Diagnosis":
        return cls(problem.code, problem.message, problem.fix)


class StatusWriter:
    """Appends to status.jsonl. `enabled` is true on rank 0 only."""

    def __init__(self, results_dir: Path, *, enabled: bool = True) -> None:
        self.path = results_dir / "status.jsonl"
        self.enabled = enabled
        self.step = 0
        self.total = 0
        self.began: float | None = None
        self.first_step = 0

    def write(self, state: State, message: str, *, diagnosis: Diagnosis | None = None) -> None:
        """Append one line. With a diagnosis the line is written on every rank: the first to fail has the cause."""
        if not self.enabled and diagnosis is None:
            return
        line: dict[str, Any] = {
            "time": now(),
            "state": state,
            "step": self.step,
            "total": self.total,
            "eta_seconds": self._eta_seconds() if state == "RUNNING" else None,
            "message": message,
        }
        if diagnosis is not None:
            line["diagnosis"] = {"code": diagnosis.code, "cause": diagnosis.cause, "cure": diagnosis.cure}
        append(self.path, masked(line))

    def progress(self, step: int, total: int, message: str) -> None:
        """Append a RUNNING line after `step` of `total` units of work."""
        if self.began is None:
            self.began, self.first_step = time.monotonic(), step
        self.step, self.total = step, total
        self.write("RUNNING", message)

    def _eta_seconds(self) -> float | None:
        done = self.step - self.first_step
        if self.began is None or done < 1:
            return None
        return round((time.monotonic() - self.began) / done * (self.total - self.step), 1)


class MetricsWriter:
    """Appends to metrics.jsonl. `enabled` is true on rank 0 only."""

    def __init__(self, results_dir: Path, *, enabled: bool = True) -> None:
        self.path = results_dir / "metrics.jsonl"
        self.enabled = enabled

    def write(self, step: int, epoch: float, values: Mapping[str, float | None]) -> None:
        """Append the values of one step; a number that JSON cannot hold becomes null."""
        if self.enabled:
            numbers = {name: value if _is_finite(value) else None for name, value in values.items()}
            append(self.path, {"time": now(), "step": step, "epoch": round(epoch, 4), **numbers})


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Append one JSON object as a line, in a single write. Raises JobFailedError like `fencing.require_current`."""
    fencing.require_current()
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def now() -> str:
    """Return the time in ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
