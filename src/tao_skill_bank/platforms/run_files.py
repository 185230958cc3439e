"""What a job left in its run directory, for platforms that share its file system."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import EXIT_INTERRUPTED, JobRecord, JobStatus, State

LOG_POLL_SECONDS = 0.2
INTERRUPTED = "interrupted"  # the trainer's code for it
NOTHING_LOST = "Nothing was trained yet."


def ended(record: JobRecord, exit_code: int | None, progress: dict[str, Any], *, was_cancelled: bool) -> JobStatus:
    """Return the terminal state of a job whose processes are gone."""
    reported = progress.get("state")
    if exit_code == 0 and reported == "SUCCESS":
        return JobStatus(record.id, State.COMPLETE, str(progress.get("message") or ""), None, 0, progress)
    diagnosis = progress.get("diagnosis") or {}
    is_saved = reported == "FAILURE" and diagnosis.get("code") == INTERRUPTED
    if was_cancelled:
        message = f"Cancelled on request. {diagnosis.get('cause') if is_saved else ''}".rstrip()
        return JobStatus(record.id, State.CANCELED, message, None, exit_code, progress)
    if exit_code is None:
        message = f"Its processes are gone and left no exit code: they were killed, or {record.results_dir} is full"
        message += "; the trainer had reported SUCCESS." if reported == "SUCCESS" else f". {retry_hint(record)}"
        return JobStatus(record.id, State.ERROR, message, "ERR_INFRA", None, progress)
    if exit_code == EXIT_INTERRUPTED:
        why = reason(record, progress) if is_saved else NOTHING_LOST
        message = f"Interrupted by a signal, not failed (exit code {exit_code}). {why} {retry_hint(record)}"
        return JobStatus(record.id, State.ERROR, message, "ERR_INFRA", exit_code, progress)
    message = f"Exit code {exit_code}. {reason(record, progress)}"
    return JobStatus(record.id, State.ERROR, message, "ERR_PROGRAM", exit_code, progress)


def retry_hint(record: JobRecord) -> str:
    """Return what to do about a job that ended by an infrastructure failure."""
    return f"Resume it with: tao-skills retry {record.id}"


def reason(record: JobRecord, progress: dict[str, Any]) -> str:
    """Return why a job failed, in the words of its last line of status.jsonl."""
    if progress.get("state") != "FAILURE":
        return f"The trainer reported neither success nor failure; see: tao-skills diagnose {record.id}"
    diagnosis = progress.get("diagnosis") or {}
    parts = (diagnosis.get("cause"), diagnosis.get("cure"), None if diagnosis else progress.get("message"))
    return " ".join(str(part) for part in parts if part)


def rate_limited(query: Callable[[], bool], seconds: float) -> Callable[[], bool]:
    """Return a query that asks its engine at most once in `seconds`, and answers False in between."""
    asked_at = -seconds

    def answer() -> bool:
        nonlocal asked_at
        if time.monotonic() - asked_at < seconds:
            return False
        asked_at = time.monotonic()
        return query()

    return answer


def log_lines(path: Path, is_over: Callable[[], bool], *, follow: bool) -> Iterator[str]:
    """Yield the lines of a log file; with `follow`, wait for it and for more until the job is over."""
    while follow and not path.is_file() and not is_over():
        time.sleep(LOG_POLL_SECONDS)
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        rest = ""
        while True:
            is_last = not follow or is_over()  # asked before the read that must see the last line
            for line in file:
                rest += line
                if rest.endswith("\n"):
                    yield rest.rstrip("\n")
                    rest = ""
            if is_last:
                break
            time.sleep(LOG_POLL_SECONDS)
        if rest:
            yield rest
