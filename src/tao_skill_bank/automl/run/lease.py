"""Lets one controller at a time run a search."""

import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tao_skill_bank.core import file_locks, own_process
from tao_skill_bank.core.file_locks import Outcome
from tao_skill_bank.errors import ConflictError
from tao_skill_bank.runs.run_directory import RunDirectory

FILE = "controller.lock"


class Lease:
    """Holds a search's run directory until the process ends, whatever the reason.

    The lock belongs to the file system: on a shared one (NFS 4, Lustre with flock) it holds between hosts as well.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / FILE
        self._file = -1

    def __enter__(self) -> "Lease":
        """Take the run directory. Raises ConflictError when another controller has it."""
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        if self._is_taken(self._file):
            holder = self.holder()
            os.close(self._file)
            message = f"Another controller works on this search: process {holder['pid']} on {holder['host']}."
            job_id = RunDirectory(self.path.parent).plan_document().get("job", {}).get("id", "JOB")
            fix = f"Watch it: tao-skills automl status {job_id}"
            raise ConflictError.of("search_is_running", message, fix) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(own_process.identity()).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def holder(self) -> dict[str, object]:
        """Return host and process number of who took it last."""
        with suppress(OSError, ValueError):
            return dict(json.loads(self.path.read_text(encoding="ascii")))
        return {"host": "an unknown host", "pid": "?"}

    def is_held(self) -> bool:
        """Return whether a controller works on the search now."""
        if not self.path.is_file():
            return False
        with self.path.open("r") as file:
            return self._is_taken(file.fileno(), shared=True)

    def _is_taken(self, descriptor: int, *, shared: bool = False) -> bool:
        """Return whether another process has the lock; without locks, whether the last holder is known to live."""
        outcome = file_locks.take(descriptor, shared=shared)
        if outcome is Outcome.UNSUPPORTED:
            return own_process.is_alive(dict(self.holder())) is True
        return outcome is Outcome.HELD
