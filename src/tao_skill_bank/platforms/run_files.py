"""What a job left in its run directory, for platforms that share its file system."""

import codecs
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import EXIT_INTERRUPTED, JobRecord, JobStatus, State
from tao_skill_bank.errors import BackendError
from tao_skill_bank.platforms import memory_kills
from tao_skill_bank.runs import checkpoint_folders
from tao_skill_bank.runs.run_directory import RunDirectory

LOG_POLL_SECONDS = 0.2
LOG_BLOCK_BYTES = 256 * 1024
INTERRUPTED = "interrupted"  # the trainer's code for it
NOTHING_LOST = "Nothing was trained yet."
STARTING = "It has started; its program has not reported yet."
SAVED_BEFORE = "Its checkpoints are as they were saved before."
SIGNALED = 128  # added to a signal's number, the exit code that a shell gives a program that it ended
KILLED = (-9, SIGNALED + 9)  # exit codes of a program that received SIGKILL
BYSTANDER = ("canceled", "peer_died")  # codes of a program that another one's end stopped
MEMORY = "Lower the workers, their prefetch factor and the batch size, or give the job more memory."


def ended(
    record: JobRecord, exit_code: int | None, progress: dict[str, Any], *, was_cancelled: bool, lost: str = ""
) -> JobStatus:
    """Return the terminal state of a job whose processes are gone, and which its platform does not start again.

    `lost` is how its machine ended it, in a sentence, where that is known.
    """
    reported = progress.get("state")
    if exit_code == 0 and reported == "SUCCESS":
        return JobStatus(record.id, State.COMPLETE, str(progress.get("message") or ""), None, 0, progress)
    if not was_cancelled and is_complete(record, exit_code, progress):
        how = "left no exit code" if exit_code is None else f"was killed (exit code {exit_code})"
        message = f"{progress.get('message') or ''}".rstrip(". ")
        message = f"{message}. After that its shell {how}.".removeprefix(". ")
        return JobStatus(record.id, State.COMPLETE, message, None, exit_code, progress)
    diagnosis = progress.get("diagnosis") or {}
    is_saved = reported == "FAILURE" and diagnosis.get("code") == INTERRUPTED
    if was_cancelled:
        message = f"Cancelled on request. {diagnosis.get('cause') if is_saved else ''}".rstrip()
        return JobStatus(record.id, State.CANCELED, message, None, exit_code, progress)
    if exit_code is None or (exit_code in KILLED and (reported != "FAILURE" or diagnosis.get("code") in BYSTANDER)):
        return _killed(record, exit_code, progress, lost)
    if exit_code == EXIT_INTERRUPTED:
        saved = checkpoint_folders.newest(Path(record.results_dir) / "checkpoints")
        why = reason(record, progress) if is_saved else SAVED_BEFORE if saved else NOTHING_LOST
        message = f"Interrupted by a signal, not failed (exit code {exit_code}). {why} {retry_hint(record)}"
        return JobStatus(record.id, State.ERROR, message, "ERR_INFRA", exit_code, progress)
    return _failed(record, exit_code, progress)


def _failed(record: JobRecord, exit_code: int, progress: dict[str, Any]) -> JobStatus:
    message = f"Exit code {exit_code}. {reason(record, progress)}"
    if exit_code == BackendError.exit_code and progress.get("state") == "FAILURE":
        message = f"{message} {retry_hint(record)}"  # a server that the program needs is gone
        return JobStatus(record.id, State.ERROR, message, "ERR_INFRA", exit_code, progress)
    return JobStatus(record.id, State.ERROR, message, "ERR_PROGRAM", exit_code, progress)


def is_complete(record: JobRecord, exit_code: int | None, progress: dict[str, Any]) -> bool:
    """Return whether a job's program succeeded, although a signal ended the shell that would have recorded it.

    The trainer writes SUCCESS last, after its last checkpoint; where that one is visible, it must be whole.
    """
    by_signal = exit_code is None or exit_code == 0 or exit_code < 0 or exit_code > SIGNALED
    if progress.get("state") != "SUCCESS" or not by_signal:
        return False
    newest = checkpoint_folders.newest(Path(record.results_dir) / "checkpoints")
    return newest is None or (newest / ".metadata").is_file()


def _killed(record: JobRecord, exit_code: int | None, progress: dict[str, Any], lost: str) -> JobStatus:
    """Return the state of a job that SIGKILL ended: the program's failure where memory ran out, else nobody's yet."""
    log_file = RunDirectory.of(record.results_dir, record.id).log_file
    code = "no exit code" if exit_code is None else f"exit code {exit_code}"
    if memory_kills.happened(record.backend_ref, log_file):
        message = f"The memory of its machine ran out and it was killed ({code}). {MEMORY}"
        return JobStatus(record.id, State.ERROR, message, "ERR_PROGRAM", exit_code, progress)
    if lost:
        message = f"{lost} {retry_hint(record)}"
        return JobStatus(record.id, State.ERROR, message, "ERR_INFRA", exit_code, progress)
    if exit_code is None:
        message = f"Its processes are gone and left no exit code: they were killed, or {record.results_dir} is full"
        message += f"; the trainer had reported {progress['state']}." if progress.get("state") == "SUCCESS" else "."
    else:
        message = f"It was killed ({code}), and nothing says why: often the memory of the machine ran out."
    message += f" {retry_hint(record)}"
    return JobStatus(record.id, State.ERROR, message, "ERR_INFRA", exit_code, progress, is_unexplained=True)


def retry_hint(record: JobRecord) -> str:
    """Return what to do about a job that ended by an infrastructure failure; a search is resumed by its study."""
    is_search = RunDirectory.of(record.results_dir, record.id).plan_document().get("study") is not None
    return f"Resume it with: {resume_command(record) if is_search else f'tao-skills retry {record.id}'}"


def resume_command(record: JobRecord) -> str:
    """Return the command that runs a job's request again, whatever ended it; a training resumes in its folder."""
    run = RunDirectory.of(record.results_dir, record.id)
    plan = run.plan_document()
    if plan.get("study") is not None:
        return f"tao-skills automl resume {record.id}"
    job, folder = plan.get("job") or {}, record.results_uri or record.results_dir
    words = ["tao-skills", "run", "--request", str(run.request_file), "--automl-policy", "off", "--results-dir"]
    if job.get("resume_key") and (job.get("workload") or {}).get("trains"):
        return shlex.join([*words, folder, "--set", f"{job['resume_key']}=true"])
    return shlex.join([*words, f"{folder}-again"])


def reason(record: JobRecord, progress: dict[str, Any]) -> str:
    """Return why a job failed, in the words of its last line of status.jsonl."""
    if progress.get("state") == "SUCCESS":
        return f"The trainer had reported SUCCESS before; see: tao-skills diagnose {record.id}"
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


def log_text(path: Path, is_over: Callable[[], bool], *, follow: bool) -> Iterator[str]:
    """Yield the whole lines of a log file, in pieces; with `follow`, wait for it and for more until the job is over."""
    while follow and not path.is_file() and not is_over():
        time.sleep(LOG_POLL_SECONDS)
    if not path.is_file():
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    ends_line = True
    with path.open("rb") as file:
        while True:
            is_last = not follow or is_over()  # asked before the read that must see the last line
            while block := file.read(LOG_BLOCK_BYTES):
                ends_line = block.endswith(b"\n")
                yield decoder.decode(block)
            if is_last:
                break
            time.sleep(LOG_POLL_SECONDS)
    if not ends_line:
        yield decoder.decode(b"\n", final=True)


def lines_of(text: Iterable[str]) -> Iterator[str]:
    """Yield the lines of text that comes in pieces, without their line ends."""
    parts: list[str] = []  # of a line that has not ended yet
    for piece in text:
        *ended, rest = piece.split("\n")
        for line in ended:
            yield "".join((*parts, line))
            parts.clear()
        parts.append(rest)
    if last := "".join(parts):
        yield last
