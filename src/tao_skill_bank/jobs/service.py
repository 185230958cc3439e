"""Jobs from launch to result: record first, then launch; the backend is the source of truth for running jobs."""

import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from tao_skill_bank import platforms
from tao_skill_bank.contracts import Job, JobRecord, JobStatus, Plan, State, Transition, to_json
from tao_skill_bank.core import file_locks
from tao_skill_bank.errors import (
    BackendError,
    BlockedError,
    ConflictError,
    Problem,
    RequestError,
    StillRunningError,
    TaoSkillsError,
)
from tao_skill_bank.jobs import remote_results, taken, unrecorded
from tao_skill_bank.jobs.store import JobStore, new_job_id
from tao_skill_bank.platforms import machines, processes, run_files
from tao_skill_bank.runs import enclosing, results, writer_lock
from tao_skill_bank.runs.results import Result
from tao_skill_bank.runs.run_directory import RunDirectory, set_aside, timestamp, verbatim_json, write_whole
from tao_skill_bank.staging import places

__all__ = ["JobHandle", "JobStore", "cancel", "launch", "list_jobs", "log_text", "new_job_id", "refresh", "status"]

WAIT_POLL_SECONDS = 0.5
ASKED_AT_ONCE = 16  # status queries in parallel: one over ssh takes a while


@dataclass(frozen=True)
class JobHandle:
    """A job by its id; every call queries the current state."""

    id: str

    @property
    def record(self) -> JobRecord:
        return JobStore().read(self.id)

    @property
    def run_directory(self) -> RunDirectory:
        record = self.record
        return RunDirectory.of(record.results_dir, record.id)

    def status(self) -> JobStatus:
        """Ask the backend and record what changed."""
        return refresh(self.record)

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """Yield log lines; with `follow`, until the job ends."""
        return run_files.lines_of(self.log_text(follow=follow))

    def log_text(self, *, follow: bool = False) -> Iterator[str]:
        """Yield the log in pieces of any length, line ends included; with `follow`, until the job ends."""
        record = self.record
        return _lines(record, platforms.load(record.platform).logs(record, follow=follow))

    def cancel(self) -> JobStatus:
        """Stop the job. Raises ConflictError when it had already ended, unless it was cancelled."""
        return cancel(self.id)

    def wait(self, timeout_seconds: float | None = None) -> JobStatus:
        """Return the status once the job has ended: as COMPLETE, ERROR or CANCELED. A timeout of 0 looks once.

        Raises:
            StillRunningError: it had not ended at the timeout, and continues; wait again, or see `status`.
            RequestError: the timeout is not a number of seconds from 0.

        """
        if timeout_seconds is not None and not 0 <= timeout_seconds < math.inf:
            message = f"A timeout of {timeout_seconds} s is not a number of seconds from 0."
            raise RequestError.of("invalid_timeout", message, "Leave it out to wait until the job has ended.")
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not (now := self.status()).state.is_terminal:
            left = WAIT_POLL_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise StillRunningError([not_ended(now)])
            time.sleep(min(WAIT_POLL_SECONDS, left))
        return now

    def result(self) -> Result:
        """Return what the run directory holds, complete or not."""
        now = self.status()
        return results.read(self.run_directory, now.state)


def not_ended(now: JobStatus, again: str = "") -> Problem:
    """Return the problem of a job that had not ended at a timeout; `again` is the command that watches it further."""
    step, total = now.progress.get("step"), now.progress.get("total")
    reached = f", step {step} of {total}" if step and total else ""
    message = f"Job {now.id} has not ended: {now.state}{reached}. {now.message}".rstrip()
    fix = f"It continues by itself. Watch it again: {again or f'tao-skills watch {now.id}'}"
    return Problem("not_ended", message, fix, now.id)


def launch(plan: Plan, *, retry_of: str | None = None) -> JobHandle:
    """Record a job, write its run directory and submit it. `retry_of` is the job that this one retries.

    Raises:
        ConflictError: the plan already ran, results_dir is not empty, or the plan there is not the one of its job;
            nothing was started.
        BlockedError: the record or the run directory cannot be written; nothing was started.
        BackendError: the platform rejected the job; its record says why.

    """
    job, store = plan.job, JobStore()
    earlier = taken.continued_job(plan.job)
    _require_free(plan, store, is_continued=earlier is not None)
    store.create(replace(_new_record(plan), retry_of=retry_of))
    platform = platforms.load(plan.launched_on)
    try:
        if earlier is not None:
            _set_aside(Path(job.results_dir), earlier)
        _write_run_directory(plan)
        reference = platform.submit(plan)
    except BaseException as error:
        with suppress(TaoSkillsError):  # the original error matters more than a record that stays PENDING
            reason = f"The job was not started: {error or type(error).__name__}"
            store.transition(job.id, _moved(State.ERROR, reason, "dispatcher"), err_class="ERR_INFRA")
        raise
    note = "" if file_locks.has_locks(Path(job.results_dir)) else " The file system of its run directory has no locks."
    submitted = _moved(State.PENDING, f"Submitted.{note}", "dispatcher")
    try:
        store.transition(job.id, submitted, backend_ref=dict(reference))
    except TaoSkillsError:
        record = store.read(job.id)
        if record.terminal_state not in (State.COMPLETE, State.ERROR):  # already ended and recorded by another process
            platform.cancel(
                replace(record, backend_ref=dict(reference))
            )  # cancelled meanwhile, or the reference could not be recorded
            raise
    return JobHandle(job.id)


def refresh(record: JobRecord) -> JobStatus:
    """Ask the platform for a job's state and record what changed. An ended job is never queried again."""
    with explained(record):
        remote_results.mirror(record)
        return remote_results.with_upload(record, _refresh(record))


@contextmanager
def explained(record: JobRecord) -> Iterator[None]:
    """Raise ConflictError where a record or its run directory does not hold what its platform left there."""
    try:
        yield
    except OSError as error:
        message = f"The files of job {record.id} cannot be read: {error}."
        fix = f"See that you may read {record.results_dir}."
        raise ConflictError.of("run_directory_unreadable", message, fix, path=record.id) from error
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        message = f"The record of job {record.id} does not hold what platform {record.platform} writes: {error!r}."
        fix = f"Restore it from a copy, or move it elsewhere: {JobStore().path_of(record.id)}"
        raise ConflictError.of("unreadable_record", message, fix, path=record.id) from error


def _lines(record: JobRecord, lines: Iterator[str]) -> Iterator[str]:
    with explained(record):
        yield from lines


def _refresh(record: JobRecord) -> JobStatus:
    return _recorded(record) if record.terminal_state is not None else _record(record, _ask(record), "backend")


def _ask(record: JobRecord) -> JobStatus:
    """Return the state of a job as its platform reports it; nothing is recorded."""
    now = platforms.load(record.platform).status(record)
    if now.state is State.UNKNOWN and machines.LAUNCHER in record.backend_ref:
        return _while_submitting(record, now)
    return now


def _record(record: JobRecord, now: JobStatus, source: str) -> JobStatus:
    """Record a state that is new, and return it; a state that cannot be written is returned with a finding."""
    if now.state in (State.UNKNOWN, record.state):
        return now
    try:
        moved = _moved(now.state, now.message, source)
        JobStore().transition(record.id, moved, err_class=now.err_class, is_unexplained=now.is_unexplained)
    except ConflictError:  # another process recorded its end first
        return _recorded(JobStore().read(record.id))
    except BlockedError as error:
        now = replace(now, findings=(*now.findings, unrecorded.state(now, error)))
    return _write_result(record, now) if now.state.is_terminal else now


def status(job_id: str) -> JobStatus:
    """Return the state of a job. Raises UnknownNameError."""
    return JobHandle(job_id).status()


def log_text(job_id: str, *, follow: bool = False) -> Iterator[str]:
    """Yield a job's log in pieces, line ends included. Raises UnknownNameError."""
    return JobHandle(job_id).log_text(follow=follow)


def cancel(job_id: str) -> JobStatus:
    """Stop a job and everything it started; a second cancel changes nothing.

    It stops the job also where nothing can be written; the status lists what could not be recorded.

    Raises:
        UnknownNameError: no such job.
        ConflictError: it had already ended by itself; leftover processes are stopped.
        BackendError: the backend could not stop it; the record is unchanged.

    """
    store = JobStore()
    record = store.read(job_id)
    before = _before_cancel(record)
    platform = platforms.load(record.platform)
    with explained(record):
        platform.cancel(record)
    if before.state in (State.COMPLETE, State.ERROR):
        message = f"Job {job_id} had already ended as {before.state}."
        raise ConflictError.of("terminal_job", message, f"See its result: tao-skills status {job_id}", path=job_id)
    record = store.read(job_id)
    return remote_results.with_upload(record, _stopped(record))


def _before_cancel(record: JobRecord) -> JobStatus:
    """Return a job's state. Raises BackendError, with what to do should its platform be gone for good."""
    try:
        return refresh(record)
    except BackendError as error:
        close = f"Should it be gone for good, close the record: tao-skills cancel {record.id} --close"
        raise BackendError([replace(each, fix=f"{each.fix.rstrip('.')}. {close}") for each in error.problems]) from None


def _stopped(record: JobRecord) -> JobStatus:
    """Return and record the state of a job that was just stopped on request."""
    if record.terminal_state is not None:
        return _recorded(record)
    now, run = _ask(record), RunDirectory.of(record.results_dir, record.id)
    is_unnoted = now.state is State.ERROR and not run.cancel_file.exists()  # its end looks like a failure
    if now.state.is_terminal and not is_unnoted:
        return _record(record, now, "backend")
    now = replace(now, state=State.CANCELED, message="Cancelled on request.", err_class=None, is_unexplained=False)
    if is_unnoted:
        now = replace(now, findings=(*now.findings, unrecorded.cancellation(run, now)))
    return _record(record, now, "user")


def list_jobs() -> list[JobRecord]:
    """Return every job, newest first; unfinished jobs are refreshed."""
    return look()[0]


def look() -> tuple[list[JobRecord], list[Problem]]:
    """Return every job like `list_jobs`, and a problem for each one that cannot be read or queried."""
    store = JobStore()
    records, problems = store.look()
    live = [record for record in records if record.terminal_state is None]
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        found = list(pool.map(observed, live))
    known = {record.id: record for record, _ in found}
    problems += [problem for _, problem in found if problem is not None]
    return [known.get(record.id, record) for record in records], problems


def observed(record: JobRecord) -> tuple[JobRecord, Problem | None]:
    """Ask a job's platform; return its record, and why the job cannot be queried, so that it never hides other jobs.

    A platform that cannot be reached now is no problem of the job: its state stays as last recorded. A state that
    cannot be recorded is in the returned record alone.
    """
    try:
        return _observed(record), None
    except BackendError:
        return record, None
    except TaoSkillsError as error:
        return record, replace(error.problems[0], path=record.id)
    except Exception as error:  # noqa: BLE001 - shown as this job's problem; `status` of it shows where it is from
        message = f"Job {record.id} cannot be queried: {type(error).__name__}: {error}."
        fix = f"See that its record and {record.results_dir} were not edited: tao-skills status {record.id}"
        return record, Problem("job_unreadable", message, fix, record.id)


def _observed(record: JobRecord) -> JobRecord:
    now = refresh(record)
    stored = JobStore().read(record.id)
    known = stored if len(stored.transitions) >= len(record.transitions) else record
    return unrecorded.record(known, now)


def _require_free(plan: Plan, store: JobStore, *, is_continued: bool) -> None:
    """Refuse a results_dir that is in use, or contains anything but what this launch writes or resumes."""
    for record in store.bound_to(plan.job.results_dir):
        refresh(record)  # it may have ended unnoticed
    if (problem := enclosing.problem(plan.job.results_dir, plan.request)) is not None:
        raise ConflictError([problem])
    folder = Path(plan.job.results_dir)
    store.require_unbound(plan.job.results_dir)
    writer_lock.require_free(folder)
    if (problem := taken.problem(plan.job, plan.study, plan.files, is_continued=is_continued)) is not None:
        raise ConflictError([problem])


def _set_aside(folder: Path, earlier: str) -> None:
    try:
        set_aside(RunDirectory(folder), earlier)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _write_run_directory(plan: Plan) -> None:
    folder = Path(plan.job.results_dir)
    documents = {"plan.json": verbatim_json(to_json(plan)), "request.json": verbatim_json(to_json(plan.request))}
    try:
        RunDirectory(folder).result_file.unlink(missing_ok=True)
        for name, text in {**documents, **plan.files}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> BlockedError:
    message = f"The run directory {folder} cannot be written: {error.strerror or error}"
    fix = "Free disk space there, or choose another results_dir."
    return BlockedError.of("results_dir_unwritable", message, fix, path="results_dir")


def _new_record(plan: Plan) -> JobRecord:
    job: Job = plan.job
    return JobRecord(
        id=job.id,
        platform=plan.launched_on,
        network_arch=job.network_arch,
        skill=job.skill,
        action=job.action,
        results_dir=job.results_dir,
        submitted_at=timestamp(),
        backend_ref={machines.LAUNCHER: _launcher()},
        image=job.image,
        storage_tier=places.scheme(job.results_uri or "") or "local",
        results_uri=job.results_uri,
        upload_excludes=job.upload_excludes,
        transitions=(_moved(State.PENDING, "Recorded.", "dispatcher"),),
        parent_job=job.parent_job_id,
        plan_sha256=plan.sha256,
    )


def _launcher() -> dict[str, Any]:
    """Return the identity of this process, replaced by the backend's reference once submitted."""
    return {"host": machines.here(), "pid": os.getpid(), "start_time": psutil.Process().create_time()}


def _while_submitting(record: JobRecord, unknown: JobStatus) -> JobStatus:
    """Return the status of a job that its backend does not know yet, by its launcher process."""
    launcher = record.backend_ref[machines.LAUNCHER]
    if (machine := machines.other(record, None)) is not None:
        return machines.unknown(record, machine, unknown.progress)
    if processes.find(launcher["pid"], launcher["start_time"]) is not None:
        return replace(unknown, state=State.PENDING, message="Its launcher is about to submit it.")
    again = platforms.load(record.platform).status(record)  # it may have submitted it just before it died
    if again.state is not State.UNKNOWN:
        return again
    message = "Its launcher died before it submitted the job."
    return replace(unknown, state=State.ERROR, message=message, err_class="ERR_INFRA")


def _moved(state: State, message: str, source: str) -> Transition:
    return Transition(timestamp(), state, message, source)


def _recorded(record: JobRecord) -> JobStatus:
    """Return the status of an ended job from its record."""
    run = RunDirectory.of(record.results_dir, record.id)
    message = record.transitions[-1].message if record.transitions else ""
    now = JobStatus(record.id, record.state, message, record.err_class, run.exit_code(), run.last_status())
    return replace(now, is_unexplained=record.is_unexplained)


def _write_result(record: JobRecord, now: JobStatus) -> JobStatus:
    """Write result.json and return the status, with a finding where it cannot be written."""
    run = RunDirectory.of(record.results_dir, record.id)
    result = results.read(run, now.state)
    if now.state is State.ERROR and not result.failure:
        result = replace(result, failure=now.message)
    try:
        results.write(run, result)
    except OSError as error:  # the record has the state, and `results.read` works without the file
        return replace(now, findings=(*now.findings, unrecorded.result(run, now, error)))
    return now
