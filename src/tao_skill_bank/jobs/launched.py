"""The plan in a run directory, checked against the record of its job before anything follows from it.

A run directory may be copied from anywhere, and others may write into it: an id in its plan.json names files and jobs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Job, JobRecord, Plan, State
from tao_skill_bank.errors import ConflictError, UnknownNameError
from tao_skill_bank.jobs.store import JobStore, is_valid_id
from tao_skill_bank.runs import plan_versions
from tao_skill_bank.runs.run_directory import RunDirectory, read_json_file


def plan_of(record: JobRecord) -> Plan:
    """Return the plan that a job was launched with.

    Raises:
        RequestError: its file is missing or is not a plan.
        ConflictError: it is not the one that the job was launched with, or of a version that is not known.

    """
    path = RunDirectory.of(record.results_dir, record.id).plan_file
    document = plan_versions.read_document(path)
    _require_own(document, record, path)
    return plan_versions.read_launched(path)


def job_in(folder: Path) -> str | None:
    """Return the id of the job whose plan lies in a run directory, or None for a folder without one.

    A job without a record here ran with another state folder; its id is a valid one.

    Raises:
        ConflictError: the id is not one of a job, or the plan is not the one of its job and place.

    """
    path = RunDirectory(folder).plan_file
    document = read_json_file(path)
    job = document.get("job") if isinstance(document, dict) else None
    if not isinstance(job, dict) or not isinstance(document, dict):
        return None
    job_id = job.get("id")
    if not isinstance(job_id, str) or not is_valid_id(job_id):
        message = f"{path} names no job: its id is {str(job_id)[:80]!r}."
        raise ConflictError.of("plan_not_of_job", message, f"Move {path} elsewhere, or restore it.", path=str(path))
    try:
        record = JobStore().read(job_id)
    except UnknownNameError:
        return job_id
    _require_place(record, folder)
    _require_own(document, record, path)
    return job_id


def earlier_job(job: Job) -> str | None:
    """Return the id of the job of the same skill and action that ran in a job's run directory; None for no such job.

    Raises ConflictError like `job_in`.
    """
    folder = Path(job.results_dir)
    earlier = RunDirectory(folder).plan_document().get("job")
    if not isinstance(earlier, dict) or (earlier.get("skill"), earlier.get("action")) != (job.skill, job.action):
        return None
    return job_in(folder)


def lost_job(job: Job) -> str | None:
    """Return the id of the earlier job of a run directory where an infrastructure failure ended it; else None."""
    earlier = earlier_job(job)
    try:
        record = JobStore().read(earlier) if earlier is not None else None
    except UnknownNameError:  # it ran with another state folder
        return None
    is_lost = record is not None and record.state is State.ERROR and record.err_class == "ERR_INFRA"
    return earlier if is_lost else None


def _require_place(record: JobRecord, folder: Path) -> None:
    """Refuse the plan in a copy of a job's run directory; one that was moved is the job's own."""
    own = Path(record.results_dir)
    if own.resolve() == folder.resolve() or not RunDirectory.of(record.results_dir, record.id).plan_file.is_file():
        return
    message = f"{folder} is a copy of the run directory of job {record.id}, which is {own}."
    fix = f"Continue in {own}, or choose an empty results_dir and name the checkpoint folder to resume from."
    raise ConflictError.of("plan_of_another_place", message, fix, path=str(folder))


def _require_own(document: Mapping[str, Any], record: JobRecord, path: Path) -> None:
    """Refuse a plan that is not the one of a record: of another job, edited after its launch, or replaced."""
    job = document.get("job")
    job_id = job.get("id") if isinstance(job, Mapping) else None
    if job_id != record.id:
        message = f"{path} is not the plan of job {record.id}: it names {str(job_id)[:80]!r}."
    elif record.plan_sha256 and plan_versions.digest(document) != record.plan_sha256:
        message = f"{path} was edited after job {record.id} was launched: it does not match the sha256 of its record."
    else:
        return
    fix = f"Restore the plan of {record.id} there, or plan its request again in an empty results_dir."
    raise ConflictError.of("plan_not_of_job", message, fix, path=str(path))
