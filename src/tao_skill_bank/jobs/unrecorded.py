"""Findings of what happened to a job and could not be written: acting does not depend on writing."""

from dataclasses import replace

from tao_skill_bank.contracts import Finding, JobRecord, JobStatus, State, Transition
from tao_skill_bank.core.findings import warning
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.runs.run_directory import RunDirectory, timestamp


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


def record(known: JobRecord, now: JobStatus) -> JobRecord:
    """Return a job's record with the state that was found, also where it could not be written."""
    if known.terminal_state is not None or now.state in (State.UNKNOWN, known.state):
        return known
    moved = (*known.transitions, Transition(timestamp(), now.state, now.message, "backend"))
    terminal = now.state if now.state.is_terminal else None
    changed = replace(known, transitions=moved, terminal_state=terminal)
    return replace(changed, err_class=now.err_class, is_unexplained=now.is_unexplained)
