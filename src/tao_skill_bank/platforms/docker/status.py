"""The final state of a job, from the end of its container and the files in its run directory."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tao_skill_bank.contracts import EXIT_INTERRUPTED, JobRecord, JobStatus, State
from tao_skill_bank.core import regular_files
from tao_skill_bank.platforms import run_files
from tao_skill_bank.platforms.docker.client import Container
from tao_skill_bank.runs.run_directory import RunDirectory

TAIL_BYTES = 4096
KILLED, TERMINATED = 137, 143
NOT_STARTED = (126, 127)  # bash: a program cannot be run, or is not there
OUT_OF_MEMORY = (
    "The container ran out of memory and was killed (exit code {code}). "
    "Raise --option memory, or lower the workers and batch sizes."
)
KILLED_FROM_OUTSIDE = (
    "The container was killed from outside (exit code {code}): docker kill, or a stop of the daemon or of its machine. "
    "{retry}"
)
UNREPORTED = "Exit code {code} before the trainer had reported a step; the log ends with: {line}"
WHICH_PYTHON = " See that --option python names an interpreter of the image that has this package."
AT_ONCE = "The container ended at once with exit code {code}: {output}"
NO_BASH = " The image has no bash: use one that has it and this package; ours is docker/Dockerfile."
WHICH_FOLDER = " See that {folder} is shared with the daemon's machine, and that the user may write there."


def meaning(record: JobRecord, run: RunDirectory, container: Container, progress: dict[str, Any]) -> JobStatus:
    """Return the terminal state of a job whose container ended."""
    recorded = run.exit_code()
    code = container.exit_code if recorded is None else recorded
    was_cancelled = run.cancel_file.exists()
    if was_cancelled or run_files.is_complete(record, code, progress):
        return run_files.ended(record, code, progress, was_cancelled=was_cancelled)
    if container.oom_killed and code not in (0, EXIT_INTERRUPTED):
        return _error(record, OUT_OF_MEMORY.format(code=code), "ERR_PROGRAM", code, progress)
    if _is_from_outside(recorded, code, progress):
        message = KILLED_FROM_OUTSIDE.format(code=code, retry=run_files.retry_hint(record))
        status = _error(record, message, "ERR_INFRA", code, progress)
        return replace(status, is_unexplained=code == KILLED)
    if recorded is None and code != 0:
        return _error(record, _unrecorded(run, container), "ERR_PROGRAM", code, progress)  # so would a retry
    if code not in (0, EXIT_INTERRUPTED, KILLED) and progress.get("state") in (None, "STARTED"):
        message = UNREPORTED.format(code=code, line=_last_line(run))
        message += WHICH_PYTHON if code in NOT_STARTED else ""
        return _error(record, message, "ERR_PROGRAM", code, progress)
    return run_files.ended(record, code, progress, was_cancelled=False)


def is_settled(run: RunDirectory, container: Container, progress: dict[str, Any], within_seconds: float) -> bool:
    """Return whether the last files of a job on another machine are visible, or would be by now."""
    code = run.exit_code()
    is_reported = code is not None and (code != 0 or progress.get("state") == "SUCCESS")
    return is_reported or _age_seconds(container) >= within_seconds


def _is_from_outside(recorded: int | None, code: int, progress: dict[str, Any]) -> bool:
    """Return whether a signal ended the container, not its program: SIGTERM, which the script records, or SIGKILL."""
    return (recorded is None and code == KILLED) or (code == TERMINATED and progress.get("state") != "FAILURE")


def _unrecorded(run: RunDirectory, container: Container) -> str:
    """Return why a container left no exit code: its script never started."""
    output = (container.output or container.error or "no output").rstrip(".") + "."
    fix = NO_BASH if "exec bash failed" in output else WHICH_FOLDER.format(folder=run.path)
    return AT_ONCE.format(code=container.exit_code, output=output) + fix


def _error(record: JobRecord, message: str, err_class: Any, code: int, progress: dict[str, Any]) -> JobStatus:
    return JobStatus(record.id, State.ERROR, message, err_class, code, progress)


def _last_line(run: RunDirectory) -> str:
    try:
        with regular_files.opened(run.log_file) as file:
            file.seek(max(0, run.log_file.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        lines = []
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")


def _age_seconds(container: Container) -> float:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(container.finished_at)).total_seconds()
    except (ValueError, TypeError):
        return float("inf")
