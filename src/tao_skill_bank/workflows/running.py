"""Runs a sealed workflow, and resumes it: the log says what is done, the records of jobs what became of the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tao_skill_bank.errors import BlockedError, JobFailedError, StillRunningError, TaoSkillsError
from tao_skill_bank.runs.run_directory import write_whole
from tao_skill_bank.workflows import (
    commands,
    conditions,
    history,
    job_steps,
    limits,
    log,
    occurrences,
    ownership,
    sealing,
)
from tao_skill_bank.workflows import stage as stages
from tao_skill_bank.workflows.declaration import OuterStep, Step
from tao_skill_bank.workflows.history import History
from tao_skill_bank.workflows.job_steps import JobSteps, Observer
from tao_skill_bank.workflows.log import Artifact, Event
from tao_skill_bank.workflows.scope import Scope
from tao_skill_bank.workflows.sealing import SealedWorkflow

T = TypeVar("T")
ALL_DONE = "every step is done"


@dataclass(frozen=True)
class Finished:
    """A run that ended well: why it ended, and what its steps did."""

    folder: Path
    reason: str
    history: History


def start(sealed: SealedWorkflow, observer: Observer | None = None) -> Finished:
    """Run a sealed workflow in its folder.

    Raises:
        ConflictError: the folder holds another run or anything in its way, or another process runs it.
        BlockedError: findings block, a step is beyond the limits, or the folder cannot be written.
        JobFailedError: the job of a step failed.
        StillRunningError: whoever watched stopped watching; the job continues.

    """
    sealing.require_unblocked(sealed)
    sealing.require_folder(sealed)
    folder = Path(sealed.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    with ownership.owned(folder):
        sealing.require_folder(sealed)
        try:
            write_whole(folder / sealing.FILE, sealing.text(sealed))
        except OSError as error:
            raise _unwritable(folder, error) from None
        return _Run(sealed, observer or Observer(), "begun").run()


def resume(folder: Path, observer: Observer | None = None) -> Finished:
    """Resume a run: running jobs are followed, what is done is not done again, a failed step is tried again.

    Raises like `start`, and UnknownNameError where no run was started in the folder.
    """
    sealed = sealing.read(folder / sealing.FILE)
    with ownership.owned(folder):
        done = History(log.read(folder).events)
        if done.is_complete:
            return Finished(folder, done.events[-1].summary, done)
        return _Run(replace(sealed, folder=str(folder)), observer or Observer(), "resumed").run()


class _Run:
    """One process's run through the steps."""

    def __init__(self, sealed: SealedWorkflow, observer: Observer, how: str) -> None:
        self._sealed, self._observer, self._how = sealed, observer, how
        self._folder = Path(sealed.folder)
        self._scope = Scope(self._folder, sealed.inputs)
        self._history = History(log.read(self._folder).events)
        self._jobs = JobSteps(sealed, observer, self._append, lambda: self._history)

    def run(self) -> Finished:
        self._append(Event("", "started", summary=self._how))
        try:
            reason = self._all()
        except StillRunningError as error:
            error.following = [commands.resume(self._folder), commands.status(self._folder)]
            raise
        except TaoSkillsError as error:
            self._append(Event("", "failed", summary="; ".join(each.message for each in error.problems)))
            error.following = [*error.following, commands.resume(self._folder)]
            raise
        self._append(Event("", "ok", summary=reason))
        return Finished(self._folder, reason, self._history)

    def _all(self) -> str:
        for outer in self._sealed.workflow.steps:
            stopped = self._loop(outer) if outer.repeat else self._step(outer, "", 0)
            if stopped:
                return stopped
        return ALL_DONE

    def _loop(self, outer: OuterStep) -> str:
        assert outer.repeat is not None
        if not self._is_wanted(outer, 0):
            for inner in outer.repeat.steps:
                self._scope.skip(inner.name)
            return ""
        number, stopped = 0, ""
        most = sealing.bound_of(outer, self._scope)
        until = [self._scope.condition(each) for each in outer.repeat.until]
        while not stopped:
            number += 1
            stopped = self._iteration(outer.name, outer.repeat.steps, number)
            if not stopped and until and conditions.hold(until, self._scope.lookup):
                stopped = "until"
            elif not stopped and number >= most:
                stopped = "at_most"
        self._scope.iteration = 0
        given = {"iterations": number, "stopped_by": stopped}
        if self._history.done((outer.name, 0)) is None:
            self._done(Event(outer.name, "ok", summary=f"{number} iterations: {stopped}", outputs=given))
        self._scope.give(outer.name, given)
        return ""

    def _iteration(self, loop: str, steps: Sequence[Step], number: int) -> str:
        for step in steps:
            self._scope.iteration = number
            if stopped := self._step(step, loop, number):
                return stopped
        return ""

    def _step(self, step: Step, loop: str, iteration: int) -> str:
        """Take a step unless it is done; return why the steps around it end here, empty where they do not."""
        done = self._history.done((step.name, iteration))
        if done is None:
            done = self._taken(step, loop, iteration)
        elif done.status == "ok":
            history.require_intact(done)
        if done.status == "skipped":
            self._scope.skip(step.name)
            return ""
        self._scope.give(step.name, done.outputs)
        return str(done.outputs["reason"]) if step.stop is not None else ""

    def _taken(self, step: Step, loop: str, iteration: int) -> Event:
        if not self._is_wanted(step, iteration):
            return self._history.newest[step.name, iteration]
        if step.stop is not None:
            return self._done(Event(step.name, "ok", iteration, summary=step.stop, outputs={"reason": step.stop}))
        folder = occurrences.folder_of(self._folder, step.name, loop, iteration)
        return self._explained(step, iteration, lambda: self._work(step, iteration, folder))

    def _work(self, step: Step, iteration: int, folder: Path) -> Event:
        if step.stage is not None:
            return self._done(self._stage(step, iteration, folder))
        return self._done(self._jobs.run(step, iteration, folder, self._scope))

    def _is_wanted(self, step: Step, iteration: int) -> bool:
        """Return whether the conditions of a step hold; where they do not, that is logged."""
        if self._history.done((step.name, iteration)) is not None:
            return self._history.newest[step.name, iteration].status != "skipped"
        is_wanted = self._explained(step, iteration, lambda: self._hold(step))
        if not is_wanted:
            summary = f"{conditions.text(step.when)} does not hold"
            self._done(Event(step.name, "skipped", iteration, summary=summary))
        return is_wanted

    def _hold(self, step: Step) -> bool:
        return conditions.hold([self._scope.condition(each) for each in step.when], self._scope.lookup)

    def _explained(self, step: Step, iteration: int, work: Callable[[], T]) -> T:
        """Do something for a step; a failure is logged and names the step."""
        try:
            return work()
        except StillRunningError:
            raise
        except TaoSkillsError as error:
            error.problems = tuple(
                replace(each, message=f"Step '{step.name}': {each.message}") for each in error.problems
            )
            summary = "; ".join(each.message for each in error.problems)
            self._append(Event(step.name, "failed", iteration, summary=summary))
            raise

    def _stage(self, step: Step, iteration: int, folder: Path) -> Event:
        stage = stages.find(str(step.stage))
        arguments = stages.arguments_of(stage, self._scope.filled(step.arguments), "arguments")
        wanted = limits.Request(step.name, need=stages.need_of(stage, arguments))
        limits.require(self._sealed.limits, limits.spent(self._folder, self._history), wanted)
        self._append(Event(step.name, "started", iteration, summary=f"stage {step.stage}", folder=str(folder)))
        began = job_steps.now()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            given = stage.run(arguments, stages.Context(folder, self._folder, iteration, self._observer.say))
            artifacts = _promised(stage.promised(arguments, folder))
        except OSError as error:
            raise _unwritable(folder, error) from None
        missing = [name for name in stage.OUTPUTS if name not in given]
        if missing or None in artifacts:
            what = f"gave no {', '.join(missing)}" if missing else "did not write all that it promises"
            message = f"The stage {step.stage} ended, but {what}."
            raise JobFailedError.of("stage_unfinished", message, f"See what it left in {folder}.", path=str(folder))
        return Event(
            step.name,
            "ok",
            iteration,
            seconds=round(job_steps.now() - began, 3),
            outputs={**given, "folder": str(folder)},
            artifacts=tuple(each for each in artifacts if each),
            folder=str(folder),
        )

    def _done(self, event: Event) -> Event:
        self._append(event)
        self._observer.done(event)
        return event

    def _append(self, event: Event) -> None:
        """Log an event, then renew the snapshot."""
        try:
            log.append(self._folder, event)
            self._history = History((*self._history.events, event))
            facts = {"workflow": self._sealed.name, "sha256": self._sealed.sha256}
            history.write_snapshot(self._folder, facts, self._history)
        except OSError as error:
            raise _unwritable(self._folder, error) from None


def _promised(paths: Sequence[Path]) -> list[Artifact | None]:
    return [job_steps.artifact(path) for path in paths]


def _unwritable(folder: Path, error: OSError) -> BlockedError:
    message = f"{error.filename or folder} cannot be written or read: {error.strerror or error}"
    fix = f"Free disk space there, then: {commands.resume(folder)}"
    return BlockedError.of("folder_unwritable", message, fix, path=str(folder))
