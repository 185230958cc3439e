"""The files of one run, the interface between the planes: read with tolerance and written atomically."""

import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pydantic_core

from tao_skill_bank.core import json_reader, numbers, regular_files
from tao_skill_bank.core.redact import masked
from tao_skill_bank.runs import fencing, plan_versions, status_lines
from tao_skill_bank.runs.last_word import MARK, LastWord

TAIL_BYTES = 64 * 1024
MAX_FLAT_BYTES = 4096
MAX_NAMED = 3  # lines that are not objects
EMBEDDINGS_FILE = "embeddings.parquet"  # of the action embed
SKIPPED_FILE = "skipped_records.json"  # of a training: the records that it could not read and skipped
BEST_TRIAL = "best_trial"  # of a search: a link to the run directory of its best trial
# Files of one job, where several run in one folder: those that the next job overwrites, and those that it starts empty.
OVERWRITTEN = ("plan.json", "request.json", "launch.sh")
STARTED_EMPTY = (
    *("status.jsonl", "result.json", "report.html"),
    *("logs/job.log", "logs/exit_code", "logs/cancel_requested", "logs/upload.json"),
)


@dataclass(frozen=True)
class RunDirectory:
    """Names of a run's files, and what they hold now. Every reader accepts a run that is still being written.

    `set_aside_id` is the id of a job that a later one resumed: its own files are in logs/, with its id in their names.
    """

    path: Path
    set_aside_id: str = ""

    @classmethod
    def of(cls, results_dir: str, job_id: str) -> "RunDirectory":
        """Return the run directory of a job, whether or not a later job resumed in it."""
        later = cls(Path(results_dir), job_id)
        return later if later.plan_file.is_file() else cls(Path(results_dir))

    def _own(self, name: str) -> Path:
        return self.path / "logs" / f"{self.set_aside_id}.{Path(name).name}" if self.set_aside_id else self.path / name

    @property
    def plan_file(self) -> Path:
        return self._own("plan.json")

    @property
    def request_file(self) -> Path:
        return self._own("request.json")

    @property
    def status_file(self) -> Path:
        return self._own("status.jsonl")

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def log_file(self) -> Path:
        return self._own("logs/job.log")

    @property
    def exit_code_file(self) -> Path:
        return self._own("logs/exit_code")

    @property
    def cancel_file(self) -> Path:
        """Exists once cancellation of the job was requested."""
        return self._own("logs/cancel_requested")

    @property
    def upload_file(self) -> Path:
        """What was uploaded, where results go to an object store."""
        return self._own("logs/upload.json")

    @property
    def result_file(self) -> Path:
        return self._own("result.json")

    @property
    def report_file(self) -> Path:
        return self._own("report.html")

    def plan_document(self) -> dict[str, Any]:
        """Return the plan, upgraded to the current version, or an empty dict when it is missing or incomplete."""
        return plan_versions.shaped(read_object(self.plan_file))

    def last_status(self) -> dict[str, Any]:
        """Return the line of status.jsonl that says how the run stands, or an empty dict before the first.

        It is the newest one, or the failure that a rank reported before others wrote their last lines.
        """
        word = LastWord()
        for line in tail_json_lines(self.status_file):
            word.read(line)
        return status_lines.plain(word.of(is_marked=self.is_failure_marked))

    @property
    def is_failure_marked(self) -> bool:
        """Whether a rank of the current start has reported a failure."""
        return not self.set_aside_id and (self.path / MARK).is_file()

    def status_lines(self, lines: Iterable[dict[str, Any]] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the lines of status.jsonl, from `lines` if it is being read, with fields of the right types only."""
        return map(status_lines.plain, json_lines(self.status_file) if lines is None else lines)

    def exit_code(self) -> int | None:
        """Return the recorded exit code, or None while there is none."""
        try:
            return int(regular_files.read_bytes(self.exit_code_file))
        except (OSError, ValueError):
            return None


def set_aside(run: RunDirectory, job_id: str) -> None:
    """Move the files of the previous job aside under its id, so that those of the next job start empty."""
    logs = run.path / "logs"
    logs.mkdir(exist_ok=True)
    configs = [path.relative_to(run.path).as_posix() for path in (run.path / "config").glob("*")]
    for name in (*OVERWRITTEN, *configs):
        if (run.path / name).is_file():
            shutil.copy2(run.path / name, logs / f"{job_id}.{Path(name).name}")
    for name in STARTED_EMPTY:
        if (run.path / name).exists():
            (run.path / name).replace(logs / f"{job_id}.{Path(name).name}")
    shutil.rmtree(run.path / "exit", ignore_errors=True)


def is_leftover(name: str, own: Collection[str]) -> bool:
    """Return whether a file, by its path in a run directory, is one of `own` or was left by a launch that was killed.

    Those are the locks of writers, and files that were about to replace an own one.
    """
    path = PurePosixPath(name)
    whole = path.name.removeprefix(".").removesuffix(".partial")
    is_partial = path.name == f".{whole}.partial" and str(path.with_name(whole)) in own
    return name in own or is_partial or (path.name.startswith(".writer.") and len(path.parts) == 1)


class JsonLines:
    """The objects of a JSON Lines file, read once; after that, which of its lines hold none.

    A missing file has no lines. A half-written line at its end is skipped and not wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_lines = self.num_wrong = 0
        self.first_wrong: list[int] = []
        self.error = ""  # why the file, which is there, cannot be read

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            with regular_files.opened(self.path) as file:
                for self.num_lines, line in enumerate(file, start=1):
                    record = _json_object(line)
                    if record is not None:
                        yield record
                    elif line.endswith(b"\n") and line.strip():
                        self._note_wrong()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.error = str(error.strerror or error)

    def _note_wrong(self) -> None:
        self.num_wrong += 1
        if self.num_wrong <= MAX_NAMED:
            self.first_wrong.append(self.num_lines)


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file; a missing file has none, a half-written line is skipped."""
    return iter(JsonLines(path))


def json_lines_with(path: Path, word: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of each line of a JSON Lines file that holds a word; only these are parsed."""
    try:
        with regular_files.opened(path) as file:
            for number, line in enumerate(file, start=1):
                if word in line and (record := _json_object(line)) is not None:
                    yield number, record
    except OSError:
        return


def last_json_line(path: Path) -> dict[str, Any]:
    """Return the newest complete object of a JSON Lines file, reading only its end; empty when there is none."""
    return next((record for line in reversed(_tail(path)) if (record := _json_object(line)) is not None), {})


def tail_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete objects at the end of a JSON Lines file, the newest last."""
    return [record for line in _tail(path) if (record := _json_object(line)) is not None]


def _tail(path: Path) -> list[bytes]:
    try:
        with regular_files.opened(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read().splitlines()
    except OSError:
        return []


def read_json_file(path: Path) -> Any:
    """Return the value of a JSON file, or None when it is missing or incomplete."""
    try:
        return json_reader.loads(regular_files.read_bytes(path))
    except (OSError, ValueError):
        return None


def read_object(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file; empty when it is missing, incomplete or anything else."""
    document = read_json_file(path)
    return document if isinstance(document, dict) else {}


def masked_json(value: Any) -> str:
    """Return a document as the JSON text that run directories keep, its secrets masked."""
    return verbatim_json(masked(value))


def verbatim_json(value: Any) -> str:
    """Return the JSON text of what stays as it is: data, the answers of models, and sealed documents."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_whole(path: Path, text: str, mode: int | None = None) -> None:
    """Replace a file atomically: readers see the old or the new text, never a part, even after a crash.

    `mode` are its permissions, those of the umask by default.

    Raises:
        OSError: nothing was changed: the disk is full, the folder is missing or not writable.
        JobFailedError: nothing was changed: this process is a writer that another one has superseded.

    """
    fencing.require_current()
    partial = path.with_name(f".{path.name}.partial")
    try:
        write_synced(partial, text, mode)
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
    sync_folder(path.parent)


def write_synced(path: Path, text: str, mode: int | None = None) -> None:
    """Write a file with these permissions, by default those of the umask, and wait until it is on the disk."""
    opener = None if mode is None else lambda name, flags: os.open(name, flags, mode)
    with open(path, "w", encoding="utf-8", opener=opener) as file:
        if mode is not None:
            os.fchmod(file.fileno(), mode)  # whatever the umask takes away, or an earlier attempt left
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def epoch_seconds(moment: Any) -> float | None:
    """Return a `time` field as seconds since 1970; it is either that number or ISO 8601 text."""
    if not isinstance(moment, str):
        return numbers.finite(moment)
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def timestamp() -> str:
    """Return the current time as records keep it: ISO 8601 in UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _json_object(line: bytes) -> dict[str, Any] | None:
    is_flat = len(line) < MAX_FLAT_BYTES and line.count(b"{") == 1 and b"[" not in line
    try:
        record = _flat_object(line) if is_flat else json_reader.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _flat_object(line: bytes) -> Any:
    """Return the value of a line without nested values, as nearly all are, in a quarter of the time."""
    try:
        return pydantic_core.from_json(line)
    except ValueError:  # among them half a character, which is read
        return json_reader.loads(line)
