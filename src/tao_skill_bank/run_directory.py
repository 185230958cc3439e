"""The wire between the planes: the files of one run, read with tolerance and written whole."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class RunDirectory:
    """Names of a run's files, and what they hold now. Every reader accepts a run that is still being written."""

    path: Path

    @property
    def plan_file(self) -> Path:
        return self.path / "plan.json"

    @property
    def request_file(self) -> Path:
        return self.path / "request.json"

    @property
    def status_file(self) -> Path:
        return self.path / "status.jsonl"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def log_file(self) -> Path:
        return self.path / "logs" / "job.log"

    @property
    def exit_code_file(self) -> Path:
        return self.path / "logs" / "exit_code"

    @property
    def cancel_file(self) -> Path:
        """Exists once somebody asked for the job to be cancelled."""
        return self.path / "logs" / "cancel_requested"

    @property
    def result_file(self) -> Path:
        return self.path / "result.json"

    def last_status(self) -> dict[str, Any]:
        """Return the newest line of status.jsonl, or an empty dict before the first."""
        return last_json_line(self.status_file)

    def exit_code(self) -> int | None:
        """Return the recorded exit code, or None while there is none."""
        try:
            return int(self.exit_code_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def set_aside(run: RunDirectory, job_id: str) -> None:
    """Keep status and logs of the job that ran here before under its id, so that the next job's start empty."""
    run.log_file.parent.mkdir(exist_ok=True)
    for path in (run.status_file, run.log_file):
        if path.exists():
            path.replace(run.log_file.parent / f"{job_id}.{path.name}")
    for path in (run.exit_code_file, run.cancel_file, run.result_file):
        path.unlink(missing_ok=True)
    shutil.rmtree(run.path / "exit", ignore_errors=True)


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file; a missing file has none, a half-written line is skipped."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            record = _json_object(line)
            if record is not None:
                yield record


def last_json_line(path: Path) -> dict[str, Any]:
    """Return the newest complete object of a JSON Lines file, reading only its end; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return {}
    return next((record for line in reversed(lines) if (record := _json_object(line)) is not None), {})


def read_json_file(path: Path) -> Any:
    """Return the value of a JSON file, or None when it is missing or not whole."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def json_text(value: Any) -> str:
    """Return a document as the JSON text that run directories keep."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_whole(path: Path, text: str) -> None:
    """Replace a file so that readers see the old or the new text, never a part, also after a crash.

    Raises:
        OSError: nothing was changed: the disk is full, the folder is missing or not writable.

    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        write_synced(partial, text)
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
    sync_folder(path.parent)


def write_synced(path: Path, text: str) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("w", encoding="utf-8") as file:
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
    if isinstance(moment, (int, float)):
        return float(moment)
    try:
        parsed = datetime.fromisoformat(str(moment))
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def timestamp() -> str:
    """Return the current time as records keep it: ISO 8601 in UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
