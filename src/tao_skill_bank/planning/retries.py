"""Retries a job that ended by an infrastructure failure: a new record that resumes where the old one stopped."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tao_skill_bank import platforms
from tao_skill_bank.contracts import Job, JobRecord, Plan, Request, State
from tao_skill_bank.core import findings
from tao_skill_bank.errors import BackendError, ConflictError, UnknownNameError
from tao_skill_bank.jobs import launched, service, unrecorded
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.planning import dispatch
from tao_skill_bank.platforms import run_files
from tao_skill_bank.runs.run_directory import RunDirectory

MAX_RETRIES = 10  # per request: something that fails this often is not a transient failure
AVOIDED = "nodes_avoided"
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 300.0


def may_retry(record: JobRecord) -> bool:
    """Return whether a job ended by an infrastructure failure, so that a retry may succeed.

    One that was killed for an unknown reason is retried once: twice in a row it is probably the program's doing.
    """
    is_infrastructure = record.state is State.ERROR and record.err_class == "ERR_INFRA"
    return is_infrastructure and _killed_before(record) is None


def retry(job_id: str, options: Mapping[str, Any] | None = None) -> JobHandle:
    """Run a job's request again. A training resumes in its run directory from its newest checkpoint.

    Args:
        job_id: a job that ended as ERROR by an infrastructure failure.
        options: platform options, such as nodes to exclude; they override those of the request.

    Raises:
        UnknownNameError: no such job, or its run directory is gone.
        ConflictError: it did not end that way, is a search, was already retried, or was retried too often.
        BlockedError: a finding blocks; nothing was written.
        BackendError: the platform did not take the job.

    """
    now = service.status(job_id)
    if now.state is State.UNKNOWN:
        why = f"The state of job {job_id} is not known, so it is not retried. {now.message}"
        fix = next((found.fix for found in now.findings), f"See it: tao-skills status {job_id}")
        raise ConflictError.of("not_retryable", why, fix, path=job_id)
    record = unrecorded.record(JobStore().read(job_id), now)
    number = 1 + len(_earlier(record))
    _require_retryable(record, now.message, number)
    run = RunDirectory.of(record.results_dir, record.id)
    if not run.plan_document():
        message = f"The run directory of job {job_id} is gone: {record.results_dir}."
        raise UnknownNameError.of("run_directory_gone", message, "Run its request again.", path=job_id)
    plan = launched.plan_of(record)
    if plan.study is not None:
        message = f"Job {job_id} is a search: its study is resumed, not its request."
        raise ConflictError.of("is_search", message, f"tao-skills automl resume {job_id}", path=job_id)
    sealed = _sealed(record, plan, _request(plan, number, options or {}), is_placed="exclude" in (options or {}))
    return dispatch.run(sealed, retry_of=job_id)


def avoided(handle: JobHandle) -> str:
    """Return which nodes a retry excludes, as its plan says; empty where it excludes none."""
    notes = handle.run_directory.plan_document().get("findings") or ()
    return next((str(found.get("message")) for found in notes if found.get("code") == AVOIDED), "")


def _sealed(record: JobRecord, plan: Plan, request: Request, *, is_placed: bool) -> Plan:
    """Return the plan of a retry, without the nodes that failed where it can run without them."""
    options = {} if is_placed else _avoiding(record, replace(plan.job, platform=request.platform))
    if not options:
        return dispatch.plan(request)
    text = ", ".join(f"{name}={value}" for name, value in options.items())
    message = f"Job {record.id} lost nodes that failed; this retry runs without them: {text}."
    placed = replace(request.platform, options={**request.platform.options, **options})
    sealed = dispatch.plan(replace(request, platform=placed), notes=[findings.info(AVOIDED, message)])
    return dispatch.plan(request) if sealed.blocking else sealed  # too few are left without them


def _avoiding(record: JobRecord, job: Job) -> dict[str, str]:
    with suppress(BackendError):  # a convenience: a platform that cannot be asked fails the launch itself
        return platforms.load(record.platform).avoiding(record, job)
    return {}


def pause_seconds(number: int) -> float:
    """Return how long to wait before a retry, counted from 1: a failed machine takes a while to recover."""
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (number - 1))


def _request(plan: Plan, number: int, options: Mapping[str, Any]) -> Request:
    job, request = plan.job, plan.request
    platform = replace(request.platform, options={**request.platform.options, **options})
    folder, overrides = job.results_uri or job.results_dir, dict(request.overrides)
    if job.resume_key is not None and job.workload.trains:
        overrides[job.resume_key] = True
    elif not job.workload.adds:
        folder = f"{folder}-retry-{number}"
    return replace(request, platform=platform, overrides=overrides, results_dir=folder, automl_policy="off")


def newest_of(job_id: str) -> JobRecord | None:
    """Return the newest effective retry of a job; None if all were cancelled or failed before they ran."""
    for other in JobStore().all():
        if other.retry_of == job_id and not _changed_nothing(other):
            return other
    return None


def _changed_nothing(retried: JobRecord) -> bool:
    """Return whether a retry ended without any progress, so that the older job may be retried again."""
    if retried.state is State.CANCELED:
        return True
    return retried.state is State.ERROR and not any(moved.state is State.RUNNING for moved in retried.transitions)


def _require_retryable(record: JobRecord, message: str, number: int) -> None:
    if (killed := _killed_before(record)) is not None and record.err_class == "ERR_INFRA":
        why = f"Job {record.id} was killed for an unknown reason, as was job {killed.id}, which it retries."
        fix = f"Find the cause with: tao-skills diagnose {record.id}. Then: {run_files.resume_command(record)}"
        raise ConflictError.of("killed_again", why, fix, path=record.id)
    if not may_retry(record):
        why = f"Job {record.id} is {record.state}" + (f": {message}" if message else ".")
        fix = f"Only infrastructure failures are retried. Find the cause with: tao-skills diagnose {record.id}"
        if record.state is State.CANCELED:
            fix = f"Run its request again; a training resumes: {run_files.resume_command(record)}"
        if record.state is State.COMPLETE:
            fix = f"There is nothing left to do; see: tao-skills report {record.id}"
        if not record.state.is_terminal:
            why = f"Job {record.id} is {record.state}."
            fix = f"Wait for its end: tao-skills watch {record.id}"
        raise ConflictError.of("not_retryable", why, fix, path=record.id)
    if number > MAX_RETRIES:
        why = f"Job {record.id} is retry {MAX_RETRIES} of its request."
        fix = f"Find the cause with: tao-skills diagnose {record.id}"
        raise ConflictError.of("too_many_retries", why, fix, path=record.id)
    if (other := newest_of(record.id)) is not None:
        why = f"Job {record.id} was already retried as {other.id}, which is {other.state}."
        verb = "retry" if may_retry(other) else "status"
        raise ConflictError.of("retried_already", why, f"tao-skills {verb} {other.id}", path=record.id)


def _earlier(record: JobRecord) -> list[JobRecord]:
    """Return the jobs that a job retries, the newest first, as far as their records are left."""
    store, found = JobStore(), list[JobRecord]()
    while record.retry_of is not None and record.retry_of not in {other.id for other in found}:
        try:
            record = store.read(record.retry_of)
        except UnknownNameError:  # its record was removed
            break
        found.append(record)
    return found


def _killed_before(record: JobRecord) -> JobRecord | None:
    """Return the job of the same request that was killed for an unknown reason before this one was; None for none."""
    earlier = _earlier(record) if record.is_unexplained else []
    return next((other for other in earlier if other.is_unexplained), None)
