"""Steps that are requests: planned, launched once, followed to their end, and retried where they failed.

The log names a job before it is launched, and its record says the rest: a job that was launched by a process that was
killed is followed, not launched again.
"""

import hashlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding, JobRecord, JobStatus, Plan, State
from tao_skill_bank.errors import BlockedError, ConflictError, JobFailedError, StillRunningError, UnknownNameError
from tao_skill_bank.jobs import launched, service
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.planning import dispatch, gate, retries
from tao_skill_bank.workflows import commands, limits, occurrences, outputs
from tao_skill_bank.workflows.declaration import Step
from tao_skill_bank.workflows.history import History, Key
from tao_skill_bank.workflows.log import Artifact, Event
from tao_skill_bank.workflows.scope import Scope
from tao_skill_bank.workflows.sealing import SealedWorkflow

KEPT = ("results", "metrics_summary")  # what later steps and reports read of a job, where it writes them


def now() -> float:
    """Return seconds of a clock that never goes back."""
    return time.monotonic()


def waits(handle: JobHandle, seconds: float | None) -> JobStatus:
    """Return the status of a job once it has ended, or after so many seconds."""
    try:
        return handle.wait(seconds)
    except StillRunningError:
        return handle.status()


def ignores(*_: Any) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Observer:
    """Whoever watches a run.

    Attributes:
        watch: follows a job to its end or for so many seconds, and returns its status; one that has not ended before
            is left running, and the run with it.
        planned: gets the name and the plan of a step before its launch.
        done: gets the event of a step that ended well or was skipped.
        say: gets a line of progress of a stage.

    """

    watch: Callable[[JobHandle, float | None], JobStatus] = waits
    planned: Callable[[str, Plan], None] = ignores
    done: Callable[[Event], None] = ignores
    say: Callable[[str], None] = ignores


@dataclass(frozen=True)
class JobSteps:
    """Runs the requests of a workflow; `append` logs an event, `history` is what was logged so far."""

    sealed: SealedWorkflow
    observer: Observer
    append: Callable[[Event], None]
    history: Callable[[], History]

    def run(self, step: Step, iteration: int, folder: Path, scope: Scope) -> Event:
        """Return the event of a step whose job is COMPLETE.

        Raises:
            JobFailedError: its job failed or was cancelled.
            StillRunningError: nobody watches any more; the job continues.
            BlockedError: findings block, or it is beyond the limits.

        """
        handle = self._launched(step, iteration, folder) or self._launch(step, iteration, folder, scope)
        plan = launched.plan_of(handle.record)
        bounds = self.sealed.limits
        left, began = limits.seconds_left(bounds, self._spent(), plan), now()
        status = self.observer.watch(handle, left)
        if not status.state.is_terminal:
            if left is None or now() - began < left:
                raise StillRunningError([service.not_ended(status, commands.resume(Path(self.sealed.folder)))])
            handle.cancel()
            raise BlockedError([limits.hours_exceeded(step.name, bounds, self._spent())])
        return self._ended(step, iteration, handle, status, plan)

    def _ended(self, step: Step, iteration: int, handle: JobHandle, status: JobStatus, plan: Plan) -> Event:
        run, record = handle.run_directory, handle.record
        if status.state is not State.COMPLETE:
            raise self._failed(handle, f"job {handle.id} ended as {status.state}: {status.message}")
        result = handle.result()
        if plan.job.workload.trains and plan.study is None and not result.steps:
            raise self._failed(handle, f"job {handle.id} took no optimizer step, so nothing was trained.")
        seconds = round(limits.seconds_of(record), 3)
        files = (run.path / str(result.artifacts[kind]) for kind in KEPT if kind in result.artifacts)
        return Event(
            step.name,
            "ok",
            iteration,
            summary=", ".join(f"{name} {value:.4g}" for name, value in _headline(result.metrics)),
            seconds=seconds,
            outputs=outputs.of_job(handle.id, run.path, result, seconds),
            artifacts=tuple(found for path in files if (found := artifact(path))),
            job=handle.id,
            folder=str(run.path),
            sha256=record.plan_sha256,
        )

    def _failed(self, handle: JobHandle, what: str) -> JobFailedError:
        diagnose, again = commands.diagnose(handle.id), commands.resume(Path(self.sealed.folder))
        fix = f"Find the cause with: {diagnose}. Then: {again}"
        error = JobFailedError.of("step_failed", what[0].upper() + what[1:], fix, path=handle.id)
        error.following = [diagnose]
        return error

    def _launched(self, step: Step, iteration: int, folder: Path) -> JobHandle | None:
        """Return the job of a step that was launched before, or is retried now; None where a new one is needed."""
        key = (step.name, iteration)
        record = self._record(key, folder)
        if record is None:
            return None
        status = service.status(record.id)
        newest = self.history().newest.get(key)
        is_failed = newest is not None and newest.status == "failed"
        if not status.state.is_terminal:
            return JobHandle(record.id)
        if not is_failed:  # this process has not seen its end
            return None if _never_ran(record.id, status) else JobHandle(record.id)
        return self._retried(step, iteration, record.id)

    def _record(self, key: Key, folder: Path) -> JobRecord | None:
        """Return the newest job of a step, or its newest retry; None for none, or one that was never launched."""
        ids = self.history().jobs_of(key)
        job_id = self._unlogged(folder) or (ids[-1] if ids else None)
        if job_id is None or not _is_recorded(job_id):  # killed between its name and its launch
            return None
        record = JobStore().read(job_id)
        while (other := retries.newest_of(record.id)) is not None:
            record = other
        return record

    def _retried(self, step: Step, iteration: int, job_id: str) -> JobHandle | None:
        """Retry a job that an infrastructure failure ended; None where the step begins again instead."""
        if not retries.may_retry(JobStore().read(job_id)):
            return None
        try:
            handle = retries.retry(job_id)
        except ConflictError:  # too often, or twice for no known reason
            return None
        self._log_start(step, iteration, launched.plan_of(handle.record))
        return handle

    def _unlogged(self, folder: Path) -> str | None:
        """Return the job in a step's folder that no line of the log names, because the line is lost."""
        if not folder.is_dir():
            return None
        job_id = launched.job_in(folder)
        return job_id if job_id is not None and job_id not in self.history().job_ids else None

    def _launch(self, step: Step, iteration: int, folder: Path, scope: Scope) -> JobHandle:
        target = _free(folder)
        plan, findings = self._plan(step, iteration, target, scope)
        limits.require(self.sealed.limits, self._spent(), limits.of_plan(step.name, plan))
        gate.require_launchable(plan, findings)
        self.observer.planned(step.name, plan)
        self._log_start(step, iteration, plan)
        return dispatch.run(plan, findings)

    def _plan(self, step: Step, iteration: int, folder: Path, scope: Scope) -> tuple[Plan, list[Finding]]:
        """Return the plan that was approved, unless it ran already or was not made; and the findings of now."""
        approved = self.sealed.plan_of(step.name) if iteration < 2 else None
        if approved is not None and approved.job.results_dir == str(folder) and not _is_recorded(approved.job.id):
            return approved, dispatch.look_again(approved)
        request = occurrences.request_of(step, scope, folder)
        plan = dispatch.plan(request)
        return plan, list(plan.findings)

    def _log_start(self, step: Step, iteration: int, plan: Plan) -> None:
        job, summary = plan.job, f"{plan.job.skill} {plan.job.action}"
        self.append(
            Event(
                step.name, "started", iteration, summary=summary, job=job.id, folder=job.results_dir, sha256=plan.sha256
            )
        )

    def _spent(self) -> limits.Spent:
        return limits.spent(Path(self.sealed.folder), self.history())


def artifact(path: Path) -> Artifact | None:
    """Return a file as it is now; None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Artifact(str(path), path.stat().st_size, digest)


def _free(folder: Path) -> Path:
    """Return the folder, or where an earlier attempt left its files there, the next one of its name."""
    numbered = (folder if number == 1 else folder.with_name(f"{folder.name}-{number}") for number in itertools.count(1))
    return next(each for each in numbered if not each.exists() or not any(each.iterdir()))


def _is_recorded(job_id: str) -> bool:
    try:
        JobStore().read(job_id)
    except UnknownNameError:
        return False
    return True


def _never_ran(job_id: str, status: JobStatus) -> bool:
    """Return whether a job ended before its program said anything: its launcher was killed in between."""
    is_lost = status.state is State.ERROR and status.err_class == "ERR_INFRA"
    return is_lost and not JobHandle(job_id).run_directory.last_status()


def _headline(metrics: dict[str, float | None]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in metrics.items() if value is not None][:3]
