"""The state of a running demo: its folder, its jobs and its log lines."""

import importlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_skill_bank.authoring.generated_files import to_text
from tao_skill_bank.contracts import Request, State
from tao_skill_bank.errors import JobFailedError, MissingExtraError
from tao_skill_bank.jobs.follow import follow
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.planning import dispatch
from tao_skill_bank.runs.results import Result
from tao_skill_bank.runs.run_directory import RunDirectory
from tao_skill_bank.workflows import files, running, sealing
from tao_skill_bank.workflows.job_steps import Observer
from tao_skill_bank.workflows.log import Event

if TYPE_CHECKING:
    from rich.console import Console


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

    def make_samples(self, kind: str, name: str = "data", **counts: int) -> Path:
        """Make sample data of a kind in a folder of this name. Raises MissingExtraError."""
        try:
            samples = importlib.import_module(f"tao_skill_bank.samples.{kind}")
        except ImportError as error:
            raise MissingExtraError.for_module(error.name or "numpy", "train") from None
        data: Path = samples.make(self.folder / name, **counts)
        numbers = ", ".join(f"{count} {split}" for split, count in counts.items() if split != "seed")
        self.note(f"made sample clips ({numbers}) in {data}")
        return data

    def run_job(self, name: str, request: Request) -> Path:
        """Run a request to its end and return its run directory. Raises JobFailedError, and what planning raises."""
        plan = dispatch.plan(replace(request, results_dir=str(self.folder / name.replace(" ", "-"))))
        self.note(f"{name}: {plan.route.kind} route, {plan.route.reason}")
        handle = dispatch.run(plan)
        status = follow(handle, _console())
        if status.state is not State.COMPLETE:
            message = f"{name}: job {handle.id} ended as {status.state}: {status.message}"
            raise JobFailedError.of("step_failed", message, f"tao-skills diagnose {handle.id}", path=handle.id)
        self.jobs[name], self.runs[name] = handle.id, handle.run_directory
        return handle.run_directory.path

    def run_workflow(
        self,
        name: str,
        inputs: Mapping[str, Any],
        done: Callable[[str, Result], None] = lambda *_: None,
        folder: Path | None = None,
    ) -> None:
        """Run a workflow of the bank in the session's folder; `done` gets the result of every step with a job.

        Raises JobFailedError, and what planning raises.
        """
        console = _console()

        def take(event: Event) -> None:
            if event.job is not None:
                handle = JobHandle(event.job)
                self.jobs[event.step], self.runs[event.step] = event.job, handle.run_directory
                done(event.step, handle.result())

        observer = Observer(
            watch=lambda handle, seconds: follow(handle, console, timeout_seconds=seconds),
            planned=lambda step, plan: self.note(f"{step}: {plan.route.kind} route, {plan.route.reason}"),
            done=take,
            say=self.note,
        )
        running.start(sealing.plan(files.load(name), inputs, folder or self.folder), observer)

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


def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True)
