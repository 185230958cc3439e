"""The run directory's two logs: status.jsonl records the state of the job, metrics.jsonl its numbers.

One JSON object per line, flushed as it is written, so that a reader may follow a run. metrics.jsonl has every step;
status.jsonl has progress at intervals, of which a kill loses at most the newest one.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tao_skill_bank.core.redact import masked
from tao_skill_bank.errors import Problem
from tao_skill_bank.runs import fencing

State = Literal["STARTED", "RUNNING", "SUCCESS", "FAILURE"]
INTERVAL_SECONDS = 1.0  # between two lines of progress within one percent of the work


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
    """Appends to status.jsonl. `enabled` is true on rank 0 only.

    A line of progress is written once a second or once a percent of the work, whichever is sooner; the first and the
    last of a phase always are. The newest withheld one is written when the phase ends, before any other line.
    """

    def __init__(self, results_dir: Path, *, enabled: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = results_dir / "status.jsonl"
        self.enabled = enabled
        self.step = 0
        self.total = 0
        self.clock = clock
        self.began: float | None = None
        self.first_step = 0
        self._pace = _Pace()
        self._withheld: dict[str, Any] | None = None

    def write(self, state: State, message: str, *, diagnosis: Diagnosis | None = None) -> None:
        """Append one line. With a diagnosis the line is written on every rank: the first to fail has the cause."""
        if not self.enabled and diagnosis is None:
            return
        line = self._line(state, message)
        if diagnosis is not None:
            line["diagnosis"] = {"code": diagnosis.code, "cause": diagnosis.cause, "cure": diagnosis.cure}
        self.flush()
        self._pace = _Pace()
        append(self.path, masked(line))

    def progress(self, step: int, total: int, message: str) -> None:
        """Report `step` of `total` units of the program's own work, such as optimizer steps."""
        if self.began is None:
            self.began, self.first_step = self.clock(), step
        self.step, self.total = step, total
        self._offer("", step, total, self._line("RUNNING", message))

    def phase(self, name: str, done: int | None = None, total: int | None = None) -> None:
        """Report what the program does besides its own work, such as `loading the model`, counted where it can be.

        Before the first step the state stays STARTED: a program that ends there has lost nothing.
        """
        count = "" if done is None or total is None else f": {done} of {total}"
        line = {**self._line("STARTED" if self.began is None else "RUNNING", f"{name}{count}"), "phase": name}
        self._offer(name, done or 0, total or 0, line)

    def flush(self) -> None:
        """Append the newest line that was withheld, if any."""
        line, self._withheld = self._withheld, None
        if line is not None:
            append(self.path, masked(line))

    def _offer(self, phase: str, done: int, total: int, line: dict[str, Any]) -> None:
        if not self.enabled:
            return
        if self._pace.phase != phase:
            self.flush()
        now_seconds, percent = self.clock(), done * 100 // total if total else 0
        if done < total and not self._pace.is_due(phase, percent, now_seconds):
            self._withheld = line
            return
        self._withheld, self._pace = None, _Pace(phase, percent, now_seconds)
        append(self.path, masked(line))

    def _line(self, state: State, message: str) -> dict[str, Any]:
        return {
            "time": now(),
            "state": state,
            "step": self.step,
            "total": self.total,
            "eta_seconds": self._eta_seconds() if state == "RUNNING" else None,
            "message": message,
        }

    def _eta_seconds(self) -> float | None:
        done = self.step - self.first_step
        if self.began is None or done < 1:
            return None
        return round((self.clock() - self.began) / done * (self.total - self.step), 1)


@dataclass(frozen=True)
class _Pace:
    """The newest line of progress that was written: its phase, percent and time. None: the next one is the first."""

    phase: str | None = None
    percent: int = 0
    written_at: float = 0.0

    def is_due(self, phase: str, percent: int, now_seconds: float) -> bool:
        return phase != self.phase or percent > self.percent or now_seconds - self.written_at >= INTERVAL_SECONDS


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
