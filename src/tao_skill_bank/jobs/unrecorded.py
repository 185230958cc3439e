"""Findings of what happened to a job and could not be written: acting does not depend on writing."""

from tao_skill_bank.contracts import Finding, JobStatus
from tao_skill_bank.core.findings import warning
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.runs.run_directory import RunDirectory


def state(now: JobStatus, error: TaoSkillsError) -> Finding:
    """Return the finding of a state that the job's record does not hold."""
    problem = error.problems[0]
    message = f"Job {now.id} is {now.state}, which its record does not say. {problem.message}"
    fix = f"{problem.fix} Then record it with: tao-skills status {now.id}"
    return warning("state_not_recorded", message, fix, problem.path)


def result(run: RunDirectory, now: JobStatus, error: OSError) -> Finding:
    """Return the finding of a result.json that could not be written; readers compute the result without it."""
    message = f"The result of job {now.id} cannot be written to {run.result_file}: {error.strerror or error}"
    return warning("result_not_written", message, "Free disk space there, or make it writable.", str(run.result_file))


def cancellation(run: RunDirectory, now: JobStatus) -> Finding:
    """Return the finding of a cancelled job whose run directory does not say that it was cancelled."""
    message = f"Job {now.id} was stopped, but {run.path} cannot be written: only its record says that it was cancelled."
    return warning("cancellation_not_noted", message, "Free disk space there, or make it writable.", str(run.path))
