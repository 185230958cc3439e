"""Records whose machine or engine is gone: adopted by this machine, or closed without asking anybody."""

import time
from dataclasses import replace
from pathlib import Path

from tao_skill_bank import platforms
from tao_skill_bank.contracts import JobRecord, JobStatus, State, Transition
from tao_skill_bank.errors import BackendError, ConflictError, UnknownNameError
from tao_skill_bank.jobs import service
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.platforms import machines, processes
from tao_skill_bank.runs.run_directory import RunDirectory, timestamp

QUIET_SECONDS = 120.0  # a run directory that changes more often belongs to a job that runs


def adopt(job_id: str) -> JobStatus:
    """Take a job over that was launched under another host name, and return its state as this machine sees it.

    Raises:
        UnknownNameError: no such job.
        ConflictError: it has ended, it is this machine's already, or its run directory is absent or still written.
        BlockedError: the record cannot be written.

    """
    record = JobStore().read(job_id)
    _require_unfinished(record)
    key = platforms.load(record.platform).host_key
    with service.explained(record):
        machine = machines.other(record, key)
        adopted = machines.adopted(record, key)
    if machine is None:
        message = f"Job {job_id} was not launched on another machine."
        raise ConflictError.of("not_elsewhere", message, f"See it: tao-skills status {job_id}", path=job_id)
    _require_quiet(record, machine)
    text = f"Adopted by host {machines.here()}; it was launched on {machine}."
    moved = Transition(timestamp(), record.state, text, "user")
    return service.refresh(JobStore().transition(job_id, moved, backend_ref=adopted))


def close(job_id: str) -> JobStatus:
    """Record a job as cancelled without stopping anything; only if its platform cannot be asked or does not know it.

    Raises:
        UnknownNameError: no such job.
        ConflictError: it has ended, or its platform knows it.
        BlockedError: the record cannot be written.

    """
    record = JobStore().read(job_id)
    _require_unfinished(record)
    try:
        now = service.refresh(record)
        why = now.message
    except (BackendError, UnknownNameError) as error:  # its platform does not answer, or is not installed any more
        now, why = JobStatus(job_id, State.UNKNOWN), str(error)
    if now.state is not State.UNKNOWN:
        message = f"Job {job_id} is {now.state}: its platform knows it, so it is not closed unseen."
        verb = "status" if now.state.is_terminal else "cancel"
        raise ConflictError.of("job_is_known", message, f"tao-skills {verb} {job_id}", path=job_id)
    text = f"Closed on request, without stopping anything. {why}".rstrip()
    JobStore().transition(job_id, Transition(timestamp(), State.CANCELED, text, "user"))
    return replace(now, state=State.CANCELED, message=text, findings=())


def _require_unfinished(record: JobRecord) -> None:
    if record.terminal_state is not None:
        message = f"Job {record.id} had already ended as {record.terminal_state}."
        raise ConflictError.of(
            "terminal_job", message, f"See its result: tao-skills status {record.id}", path=record.id
        )


def _require_quiet(record: JobRecord, machine: str) -> None:
    """Refuse a job whose files are not here, or change while no process of it is here: it runs on the other machine."""
    if processes.of_job(record.id):
        return
    run = RunDirectory.of(record.results_dir, record.id)
    if not run.plan_file.is_file() and machines.LAUNCHER not in record.backend_ref:
        message = f"The run directory of job {record.id} is not on this machine: {record.results_dir}."
        fix = f"Mount it here, or close the record: tao-skills cancel {record.id} --close"
        raise ConflictError.of("run_directory_gone", message, fix, path=record.results_dir)
    age = min((_age_seconds(path) for path in (run.status_file, run.metrics_file, run.log_file)), default=QUIET_SECONDS)
    if age < QUIET_SECONDS and run.exit_code() is None:
        message = f"{record.results_dir} changed {age:.0f} s ago: job {record.id} may still run on {machine}."
        fix = f"Stop it there, or wait until nothing has changed for {QUIET_SECONDS:.0f} s: "
        raise ConflictError.of("still_written", message, f"{fix}tao-skills status {record.id} --adopt", path=record.id)


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
