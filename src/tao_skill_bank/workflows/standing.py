"""How far the run in a folder is, whether or not a process works on it now."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tao_skill_bank.contracts import Finding, State
from tao_skill_bank.errors import TaoSkillsError, UnknownNameError
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.workflows import commands, files, inputs, limits, log, ownership, sealing
from tao_skill_bank.workflows.history import History
from tao_skill_bank.workflows.limits import Spent
from tao_skill_bank.workflows.log import Event
from tao_skill_bank.workflows.sealing import SealedWorkflow

RunState = Literal["RUNNING", "COMPLETE", "FAILED", "INTERRUPTED"]


@dataclass(frozen=True)
class Standing:
    """A run as its log and the records of its jobs show it."""

    sealed: SealedWorkflow
    folder: Path
    state: RunState
    summary: str
    steps: tuple[Event, ...]
    waiting: tuple[str, ...]
    spent: Spent
    findings: tuple[Finding, ...]

    @property
    def following(self) -> list[str]:
        """What to run next."""
        if self.state == "COMPLETE":
            return [commands.report(self.folder)]
        if self.state == "RUNNING":
            return [commands.status(self.folder)]
        failed = [each.job for each in self.steps if each.status == "failed" and each.job]
        return [*(commands.diagnose(job) for job in failed), commands.resume(self.folder)]


def folder_of(name: str, folder: Path | None = None) -> Path:
    """Return the run folder that a user means: one with a run in it, or that of a workflow by its name."""
    if folder is not None:
        return folder.absolute()
    if (Path(name) / sealing.FILE).is_file():
        return Path(name).absolute()
    return sealing.default_folder(files.load(name).workflow.name) if not Path(name).is_dir() else Path(name).absolute()


def require_same(name: str, folder: Path, given: dict[str, Any]) -> None:
    """Refuse a folder of another workflow, of a changed one or of other inputs than a user names.

    Raises:
        ConflictError: it is.
        UnknownNameError: no run was started in the folder.

    """
    there = opened(folder)
    if Path(name).is_dir() and not given:
        return
    found = files.load(there.source if Path(name).is_dir() else name)
    values = inputs.values(found.workflow, given, found.path.parent) if given else there.inputs
    wanted = SealedWorkflow(found.workflow.name, str(found.path), found.document, values, there.limits, str(folder))
    sealing.require_same(there, wanted)


def opened(folder: Path) -> SealedWorkflow:
    """Return the sealed workflow of a run folder. Raises UnknownNameError where no run was started there."""
    if not (folder / sealing.FILE).exists():
        message = f"No workflow was started in {folder}."
        fix = "Give the folder of a run: tao-skills workflow status FOLDER"
        raise UnknownNameError.of("unknown_run", message, fix, path=str(folder))
    return sealing.read(folder / sealing.FILE)


def of(folder: Path) -> Standing:
    """Return how far a run is. Raises UnknownNameError where none was started in the folder."""
    sealed = opened(folder)
    read = log.read(folder)
    done = History(read.events)
    whole = [each for each in read.events if not each.step]
    state: RunState = "INTERRUPTED"
    if done.is_complete:
        state = "COMPLETE"
    elif ownership.is_held(folder):
        state = "RUNNING"
    elif whole and whole[-1].status == "failed":
        state = "FAILED"
    begun = {name for name, _ in done.newest}
    waiting = [each.step for each in sealed.steps if each.step not in begun]
    newest = {key: _with_job(event, done) for key, event in done.newest.items()}
    return Standing(
        sealed,
        folder,
        state,
        whole[-1].summary if whole else "",
        tuple(newest.values()),
        tuple(waiting),
        limits.spent(folder, done),
        tuple(log.notes(folder / log.FILE, read.ignored)),
    )


def job_state(event: Event) -> State | None:
    """Return the recorded state of the job of a step; None for a step without one."""
    try:
        return JobStore().read(event.job).state if event.job else None
    except TaoSkillsError:  # it was never launched
        return None


def _with_job(event: Event, done: History) -> Event:
    """Return an event with the newest job of its step, which that of a failure does not name."""
    jobs = done.jobs_of((event.step, event.iteration))
    if event.job or not jobs:
        return event
    return Event(
        event.step, event.status, event.iteration, event.time, event.summary, event.seconds, event.outputs,
        event.artifacts, jobs[-1], event.folder,
    )  # fmt: skip
