"""Durable job records: one JSON file per job, written atomically, changed only under a lock.

Only their owner reads new records, which name paths and errors of a user; one that exists keeps its permissions.

An empty file in `.live/` marks a job that may not have ended, so that a launch does not read thousands of ended ones.
"""

import difflib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pydantic

from tao_skill_bank.contracts import JobRecord, State, Transition
from tao_skill_bank.core import file_locks, plain_text, regular_files, settings
from tao_skill_bank.core.redact import masked
from tao_skill_bank.errors import BlockedError, ConflictError, Problem, UnknownNameError
from tao_skill_bank.jobs import elsewhere
from tao_skill_bank.runs.run_directory import sync_folder, write_synced, write_whole

MAX_ID_LENGTH = 52  # of a new one: a DNS label of 63, less what Kubernetes appends to name a pod of an indexed job
ERROR_CLASS = Literal["ERR_INFRA", "ERR_PROGRAM"]
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700

_RECORD = pydantic.TypeAdapter(JobRecord)
_VALID_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # a DNS label, and so the name of a file


def new_job_id(network_arch: str, action: str) -> str:
    """Return `<arch>-<action>-<12 hex>`: unique, a DNS label, at most 52 characters."""
    suffix = secrets.token_hex(6)
    words = re.sub(r"[^a-z0-9]+", "-", f"{network_arch}-{action}".lower()).strip("-")
    return f"{words[: MAX_ID_LENGTH - len(suffix) - 1].rstrip('-')}-{suffix}"


def is_valid_id(job_id: str) -> bool:
    """Return whether a job may have this id: a record's file is named by it."""
    return _VALID_ID.fullmatch(job_id) is not None


class JobStore:
    """The records below `$TAO_STATE_DIR/jobs`; safe for any number of processes of one machine."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or settings.state_dir() / "jobs"

    def create(self, record: JobRecord) -> None:
        """Write a new record.

        Raises:
            ConflictError: the id is not a valid one or exists, or a job that has not ended writes into the same
                results_dir.
            BlockedError: the state directory cannot be written; no record exists.

        """
        if not is_valid_id(record.id):
            message = f"{record.id[:80]!r} cannot be the id of a job: it is not a name in small letters and digits."
            raise ConflictError.of("invalid_job_id", message, "Plan the request again.", path="job.id")
        with self._locked():
            self.require_unbound(record.results_dir)
            self._clean()
            try:
                self._mark(record.id)
                self._write_new(record)
            except FileExistsError:
                message = f"Job {record.id} already exists: a plan runs only once."
                fix = f"Make a new plan, or see the job with: tao-skills status {record.id}"
                raise ConflictError.of("duplicate_job", message, fix, path=record.id) from None

    def read(self, job_id: str) -> JobRecord:
        """Return a record.

        Raises:
            UnknownNameError: no such job.
            ConflictError: its file is not a job record.
            BlockedError: its file cannot be read.

        """
        if not is_valid_id(job_id):
            raise self._unknown(job_id)
        path = self.path_of(job_id)
        try:
            return _parsed(path)
        except (FileNotFoundError, NotADirectoryError):
            raise self._unknown(job_id) from None
        except OSError as error:
            raise BlockedError([_unreadable(path, error)]) from None
        except ValueError as error:
            raise ConflictError([_unreadable(path, error)]) from None

    def all(self) -> list[JobRecord]:
        """Return every readable record, newest first."""
        return self.look()[0]

    def look(self) -> tuple[list[JobRecord], list[Problem]]:
        """Return every readable record, newest first, and a problem for each file that is not one."""
        records, problems = [], []
        for path in self._files():
            try:
                records.append(_parsed(path))
            except FileNotFoundError:  # removed meanwhile
                continue
            except (OSError, ValueError) as error:
                problems.append(_unreadable(path, error))
        return sorted(records, key=lambda record: (record.submitted_at, record.id), reverse=True), problems

    def bound_to(self, results_dir: str) -> list[JobRecord]:
        """Return the jobs that write into `results_dir` and have not ended."""
        bound = Path(results_dir).resolve()
        return [record for record in self.live() if Path(record.results_dir).resolve() == bound]

    def require_unbound(self, results_dir: str) -> None:
        """Raise ConflictError where a job that has not ended writes into `results_dir`."""
        for other in self.bound_to(results_dir):
            message = f"{results_dir} belongs to job {other.id}, which is {other.state}."
            fix = f"Choose another results_dir, or: tao-skills cancel {other.id}"
            raise ConflictError.of("results_dir_in_use", message, fix, path="results_dir")

    def live(self) -> list[JobRecord]:
        """Return every readable record of a job that has not ended, in no particular order."""
        marks = self.folder / ".live"
        if not marks.is_dir():  # created by a release without marks
            return [record for record in self.all() if record.terminal_state is None]
        records = []
        for mark in marks.iterdir():
            with suppress(OSError, ValueError):
                records.append(_parsed(self.path_of(mark.name)))
        return [record for record in records if record.terminal_state is None]

    def live_ids(self) -> list[str]:
        """Return the ids of the jobs that have not ended, and of those whose record cannot be read."""
        return [*(record.id for record in self.live()), *(problem.path for problem in self.look()[1])]

    def transition(
        self,
        job_id: str,
        transition: Transition,
        *,
        err_class: ERROR_CLASS | None = None,
        backend_ref: dict[str, Any] | None = None,
        is_unexplained: bool = False,
    ) -> JobRecord:
        """Append a transition and return the record. The same terminal state again changes nothing.

        Raises:
            ConflictError: the job has ended in another state.
            BlockedError: the record cannot be written; it stays as it was.

        """
        assert transition.state is not State.UNKNOWN, "UNKNOWN carries no information and is never recorded"
        with self._locked():
            record = self.read(job_id)
            if record.terminal_state is transition.state:
                return record
            if record.terminal_state is not None:
                message = f"Job {job_id} ended as {record.terminal_state}; it cannot become {transition.state}."
                raise ConflictError.of("terminal_job", message, "Run a new job.", path=job_id)
            changed = replace(
                record,
                transitions=(*record.transitions, transition),
                terminal_state=transition.state if transition.state.is_terminal else None,
                err_class=err_class,
                is_unexplained=is_unexplained,
                backend_ref=record.backend_ref if backend_ref is None else backend_ref,
            )
            path = self.path_of(job_id)
            write_whole(path, _text(changed), stat.S_IMODE(path.stat().st_mode))
            if changed.terminal_state is not None:
                (self.folder / ".live" / job_id).unlink(missing_ok=True)
            return changed

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
            path = self.folder / ".lock"
            path.touch(PRIVATE_FILE)
            with path.open("a") as lock, file_locks.exclusive(lock.fileno(), path):
                yield
        except OSError as error:
            message = f"Job records cannot be written below {self.folder}: {error.strerror or error}"
            fix = "Free disk space there, or set TAO_STATE_DIR to a writable folder."
            raise BlockedError.of("state_dir_unwritable", message, fix, path=str(self.folder)) from None

    def _mark(self, job_id: str) -> None:
        """Mark a job as one that has not ended; the first mark of a folder marks its older jobs, too."""
        marks = self.folder / ".live"
        if not marks.is_dir():
            work = marks.with_name(".live.partial")
            work.mkdir(PRIVATE_FOLDER, exist_ok=True)
            for record in self.live():
                (work / record.id).touch(PRIVATE_FILE)
            work.rename(marks)
        (marks / job_id).touch(PRIVATE_FILE)

    def _clean(self) -> None:
        """Remove what killed processes left: half-written records, and marks of jobs that have none or have ended."""
        for path in self.folder.glob(".*.json.partial"):
            path.unlink(missing_ok=True)  # only the holder of the lock writes
        live = {record.id for record in self.live()}
        marks = self.folder / ".live"
        for mark in marks.iterdir() if marks.is_dir() else ():
            if mark.name not in live and not self._is_unreadable(mark.name):
                mark.unlink(missing_ok=True)

    def _is_unreadable(self, job_id: str) -> bool:
        try:
            _RECORD.validate_json(regular_files.read_bytes(self.path_of(job_id)))
        except FileNotFoundError:
            return False
        except (OSError, pydantic.ValidationError):
            return True
        return False

    def _write_new(self, record: JobRecord) -> None:
        path = self.path_of(record.id)
        partial = path.with_name(f".{path.name}.partial")
        try:
            write_synced(partial, _text(record), PRIVATE_FILE)
            os.link(partial, path)  # unlike a rename, refuses to replace
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(self.folder)

    def _files(self) -> list[Path]:
        return [path for path in self.folder.glob("*.json") if not path.name.startswith(".")]

    def path_of(self, job_id: str) -> Path:
        """Return the file of a job's record."""
        return self.folder / f"{job_id}.json"

    def similar(self, job_id: str) -> list[str]:
        """Return the ids of jobs that may be meant. Only for verbs that read: none may change a job on a guess."""
        return difflib.get_close_matches(job_id, [path.stem for path in self._files()], n=3)

    def _unknown(self, job_id: str) -> UnknownNameError:
        message = f"There is no job '{job_id}' in {self.folder}."
        return UnknownNameError.of(
            "unknown_job", message, elsewhere.fix(self.folder, job_id if is_valid_id(job_id) else ""), path=job_id
        )


def _parsed(path: Path) -> JobRecord:
    """Return the record in a file. Raises OSError, and ValueError when it holds none of this version and name."""
    record = _RECORD.validate_json(regular_files.read_bytes(path))
    if record.id != path.stem:
        raise ValueError(f"it is the record of {record.id}")
    if not plain_text.is_possible_path(record.results_dir):
        raise ValueError("its results_dir is no possible path")
    return record


def _unreadable(path: Path, error: Exception) -> Problem:
    if isinstance(error, OSError):
        message = f"{path} cannot be read: {error.strerror or error}"
        fix = "Make it readable for you, or set TAO_STATE_DIR to the folder of your own records."
        return Problem("record_unreadable", message, fix, path.stem)
    message = f"{path} is not a job record of this version."
    if not isinstance(error, pydantic.ValidationError):
        message = f"{path} cannot be read as a job record: {error}."
    return Problem("unreadable_record", message, f"Move {path} elsewhere.", path.stem)


def _text(record: JobRecord) -> str:
    document = _RECORD.dump_python(record, mode="json")
    safe = masked(document)
    return json.dumps({**safe, "redacted": record.redacted or safe != document}, indent=2, ensure_ascii=False) + "\n"
