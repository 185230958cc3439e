"""The state of a job, from what the cluster lists and from the files in its run directory."""

import time
from typing import Any

from tao_skill_bank.contracts import EXIT_INTERRUPTED, JobRecord, JobStatus, State
from tao_skill_bank.core import numbers
from tao_skill_bank.platforms import run_files
from tao_skill_bank.platforms.slurm import waiting
from tao_skill_bank.platforms.slurm.rows import Listed
from tao_skill_bank.runs import run_directory
from tao_skill_bank.runs.run_directory import RunDirectory

SETTLE_SECONDS = 10.0  # until a shared file system shows the last lines of a run directory
REQUEUE_SECONDS = 30.0  # until a job that lost its node is listed again
ARRIVAL_SECONDS = 600.0  # until a busy controller lists what it was sent
ACCEPTED, SAID = "accepted", "sbatch_said"  # of the reference of a job without a number
FIXES = {
    "TIMEOUT": "It reached its time limit: --option time_limit raises it.",
    "DEADLINE": "It could not end before its deadline.",
    "OUT_OF_MEMORY": "The memory of its node was used up: raise --option mem, or lower the workers and batch sizes.",
}


def active(record: JobRecord, listed: Listed, progress: dict[str, Any]) -> JobStatus:
    """Return the state of a job that squeue lists: it has not ended."""
    state = State.PENDING if listed.meaning[0] is State.PENDING else State.RUNNING
    if state is State.PENDING:
        return JobStatus(record.id, state, waiting.message(listed.number, listed.reason), progress=progress)
    return JobStatus(record.id, state, str(progress.get("message") or listed.word), progress=progress)


def over(record: JobRecord, run: RunDirectory, found: Listed, progress: dict[str, Any]) -> JobStatus:
    """Return the state of a job that squeue does not list."""
    state, err_class = found.meaning
    if not state.is_terminal:  # the accounting lags
        return JobStatus(record.id, state, f"Slurm reports {found.word}.", progress=progress)
    age = float("inf") if found.ended_at is None else time.time() - found.ended_at
    was_cancelled = run.cancel_file.exists()
    is_unconfirmed = state is State.COMPLETE and progress.get("state") != "SUCCESS" and age < SETTLE_SECONDS
    if is_unconfirmed or (err_class == "ERR_INFRA" and not was_cancelled and age < REQUEUE_SECONDS):
        message = f"Slurm reports {found.word}; waiting for the final state."
        return JobStatus(record.id, State.RUNNING, message, progress=progress)
    exit_code = _exit_code(run, found, progress)
    if state is State.CANCELED:
        ended = run_files.ended(record, exit_code, progress, was_cancelled=True)
        who = "" if was_cancelled else f" It was cancelled on the cluster, not by this tool (Slurm job {found.number})."
        return JobStatus(record.id, State.CANCELED, f"{ended.message}{who}", None, exit_code, progress)
    is_settled = was_cancelled or run_files.is_complete(record, exit_code, progress)
    if err_class == "ERR_INFRA" and not is_settled:
        message = f"Slurm reports {found.word}: an infrastructure failure. {run_files.retry_hint(record)}"
        return JobStatus(record.id, State.ERROR, message, err_class, exit_code, progress)
    if found.word in FIXES and exit_code != EXIT_INTERRUPTED and not is_settled:
        message = f"Slurm reports {found.word}. {FIXES[found.word]} Resume it with: {run_files.resume_command(record)}"
        return JobStatus(record.id, State.ERROR, message, err_class, exit_code, progress)
    return run_files.ended(record, exit_code, progress, was_cancelled=was_cancelled)


def forgotten(record: JobRecord, run: RunDirectory, progress: dict[str, Any], number: str | None) -> JobStatus:
    """Return the state of a job that the cluster does not list, from what the job left.

    `number` is Slurm's number of the job; None while it is not known.
    """
    exit_code = run.exit_code()
    if exit_code is not None:
        return run_files.ended(record, exit_code, progress, was_cancelled=run.cancel_file.exists())
    if number is None and not progress and ACCEPTED in record.backend_ref:
        return _not_arrived(record)
    message = "The cluster does not list it." if number is None or is_new(record) else "The cluster no longer lists it."
    return JobStatus(record.id, State.UNKNOWN, message, progress=progress)


def is_new(record: JobRecord) -> bool:
    """Return whether a job was sent so recently that a busy controller may not list it yet."""
    return time.time() - (run_directory.epoch_seconds(record.submitted_at) or 0.0) < ARRIVAL_SECONDS


def _not_arrived(record: JobRecord) -> JobStatus:
    """Return the state of a job whose number sbatch did not give, and which the cluster does not list."""
    said = record.backend_ref.get(SAID)
    message = "sbatch gave no job number" + (f" (it said: {said})" if said else "")
    message += ", and the cluster lists no job of this name"
    if is_new(record):
        return JobStatus(record.id, State.PENDING, f"{message} yet; it is looked up by its name.")
    if record.backend_ref[ACCEPTED]:  # it may come whenever it likes
        close = f"If it never does, close its record with: tao-skills cancel {record.id}"
        return JobStatus(record.id, State.UNKNOWN, f"{message}. {close}")
    message = f"{message}: it never arrived. {run_files.retry_hint(record)}"
    return JobStatus(record.id, State.ERROR, message, "ERR_INFRA")


def _exit_code(run: RunDirectory, found: Listed, progress: dict[str, Any]) -> int | None:
    """Return the exit code of the rank that reported why the job failed, else that of the script, else Slurm's."""
    recorded = run.exit_code()
    if recorded in (0, EXIT_INTERRUPTED):
        return recorded
    cause = (progress.get("diagnosis") or {}).get("cause")
    for path in sorted((run.path / "exit").glob("rank_*.json")):
        rank = run_directory.read_object(path)
        if cause and rank.get("error") == cause and (code := numbers.count(rank.get("exit_code"))):
            return code
    return found.exit_code if recorded is None else recorded
