"""The state of a running demo: its folder, its jobs and its log lines."""

import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tao_skill_bank.authoring.generated_files import to_text
from tao_skill_bank.bank import workflow
from tao_skill_bank.contracts import State
from tao_skill_bank.errors import JobFailedError, MissingExtraError
from tao_skill_bank.jobs.follow import follow
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.planning import dispatch
from tao_skill_bank.runs.run_directory import RunDirectory


@dataclass
class DemoSession:
    """A demo's folder, jobs and log."""

    folder: Path
    say: Callable[[str], None]
    started: float = field(default_factory=time.monotonic)
    runs: dict[str, RunDirectory] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, folder: Path, say: Callable[[str], None]) -> "DemoSession":
        """Start a session in a new folder below `folder`, named by the time."""
        return cls(folder / time.strftime("%Y%m%d-%H%M%S"), say)

    def note(self, line: str) -> None:
        """Print a line with the seconds since the start."""
        self.say(f"[{time.monotonic() - self.started:5.0f} s] {line}")

    def make_samples(self, kind: str, **counts: int) -> Path:
        """Make sample data of a kind. Raises MissingExtraError."""
        try:
            samples = importlib.import_module(f"tao_skill_bank.samples.{kind}")
        except ImportError as error:
            raise MissingExtraError.for_module(error.name or "numpy", "train") from None
        data: Path = samples.make(self.folder / "data", **counts)
        numbers = ", ".join(f"{count} {split}" for split, count in counts.items())
        self.note(f"made sample clips ({numbers}) in {data}")
        return data

    def run_step(self, step: workflow.Step) -> JobHandle:
        """Plan, launch and follow one step of a workflow. Raises JobFailedError, and what planning raises."""
        from rich.console import Console

        request = step.with_parent_job(self.jobs)
        sealed = dispatch.plan(replace(request, results_dir=str(self.folder / step.name.replace(" ", "-"))))
        self.note(f"{step.name}: {sealed.route.kind} route, {sealed.route.reason}")
        handle = dispatch.run(sealed)
        status = follow(handle, Console(stderr=True))
        if status.state is not State.COMPLETE:
            fix = f"Find the cause with: tao-skills diagnose {handle.id}"
            message = f"{step.name} ended as {status.state}: {status.message}"
            raise JobFailedError.of("job_failed", message, fix, path=handle.id)
        self.jobs[step.name], self.runs[step.name] = handle.id, handle.run_directory
        return handle

    def summarise(self, *, smoke: bool, **found: Any) -> dict[str, Any]:
        """Write summary.json and return it."""
        summary = {
            **found,
            "jobs": self.jobs,
            "seconds": round(time.monotonic() - self.started, 1),
            "smoke": smoke,
            "python": sys.version.split()[0],
        }
        (self.folder / "summary.json").write_text(to_text(summary), encoding="utf-8")
        return summary
