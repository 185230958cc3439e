"""One job writes a run directory at a time: who does is asked of its processes, not of what they wrote.

The first process of a job locks `.writer.lock` and passes the open file on as its standard input, which children
inherit through every shell and launcher: the lock lives as long as any process that may write.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.core import file_locks, own_process, settings
from tao_skill_bank.core.file_locks import Outcome
from tao_skill_bank.errors import ConflictError
from tao_skill_bank.runs import fencing
from tao_skill_bank.runs.run_directory import RunDirectory

FILE = ".writer.lock"
RECENT_SECONDS = 600.0  # a writer on another machine that wrote since then may still live
GROWING = ("status.jsonl", "metrics.jsonl", "logs/job.log")
ENDED = ("SUCCESS", "FAILURE")
STANDARD_INPUT = 0


@dataclass(frozen=True)
class Lock:
    """The lock of a run directory; it lives while `descriptor` or a copy of it is open in any process.

    `is_real` is false on a file system without locks.
    """

    descriptor: int
    is_real: bool

    def close(self) -> None:
        """Close this process's copy; a process that inherited one keeps the lock."""
        os.close(self.descriptor)


def take(run_dir: Path) -> Lock:
    """Lock a run directory.

    Raises:
        ConflictError: another process writes there; or it may, on a file system without locks.
        OSError: the lock's file cannot be written.

    """
    descriptor = os.open(run_dir / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        outcome = file_locks.take(descriptor)
        evidence = _evidence(run_dir) if outcome is Outcome.UNSUPPORTED else ""
        if outcome is Outcome.HELD or evidence:
            raise _in_use(run_dir, evidence)
    except BaseException:
        os.close(descriptor)
        raise
    return Lock(descriptor, outcome is Outcome.TAKEN)


def require_free(run_dir: Path) -> None:
    """Refuse a run directory in which a process still writes, as far as locks tell. Raises ConflictError."""
    with suppress(OSError):
        descriptor = os.open(run_dir / FILE, os.O_RDWR | os.O_CLOEXEC)
        try:
            outcome = file_locks.take(descriptor, shared=True)
        finally:
            os.close(descriptor)
        if outcome is Outcome.HELD:
            raise _in_use(run_dir)


@contextmanager
def joined(run_dir: Path) -> Iterator[None]:
    """Hold the lock of a run directory for this process and children that it starts inside, unless it was inherited.

    A job may run on several machines, and a lock may outlive a machine that was lost. So only processes on this machine
    that are not of the same job refuse; epochs decide between all others.

    Raises:
        ConflictError: a process of another job on this machine writes there.
        OSError: the lock's file cannot be written.

    """
    before = None if _is_inherited(run_dir) else _join(run_dir)
    if before is None:
        yield
        return
    try:
        yield
    finally:
        os.dup2(before, STANDARD_INPUT)
        os.close(before)


def _join(run_dir: Path) -> int | None:
    """Make the lock the standard input, and return what it was before; None where a lost or remote one is left."""
    try:
        lock = take(run_dir)
    except ConflictError:
        holder = fencing.holder(run_dir)
        is_peer = holder.get("job_id") == settings.job_id() != ""
        if holder.get("machine") == own_process.machine() and not is_peer:
            raise
        return None
    try:
        before = os.dup(STANDARD_INPUT)
    except OSError:  # closed
        before = os.open(os.devnull, os.O_RDONLY)
    os.dup2(lock.descriptor, STANDARD_INPUT)
    lock.close()
    return before


def _is_inherited(run_dir: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(STANDARD_INPUT), (run_dir / FILE).stat())
    except OSError:
        return False


def _evidence(run_dir: Path) -> str:
    """Return what speaks for a writer that lives, where nothing can be locked; empty for nothing."""
    before = fencing.holder(run_dir)
    who = f"process {before.get('pid')} on {before.get('host')}"
    alive = own_process.is_alive(before) if before else False
    if alive:
        return f"{who} is alive"
    if alive is False or RunDirectory(run_dir).last_status().get("state") in ENDED:
        return ""
    ages = [time.time() - (run_dir / name).stat().st_mtime for name in GROWING if (run_dir / name).is_file()]
    if ages and min(ages) < RECENT_SECONDS:
        return f"{who} wrote there {max(0.0, min(ages)):.0f} s ago, and has not reported its end"
    return ""


def _in_use(run_dir: Path, evidence: str = "") -> ConflictError:
    before = fencing.holder(run_dir)
    job_id = before.get("job_id") or (RunDirectory(run_dir).plan_document().get("job") or {}).get("id")
    who = f"a process of job {job_id}" if job_id else "another run"
    message = f"{run_dir} is still written by {who}"
    message += f": {evidence}; its file system has no locks." if evidence else ": it holds the lock of the folder."
    wait = "wait for its end" + (f", or run this again in {RECENT_SECONDS / 60:.0f} minutes" if evidence else "")
    stop = f"Stop what is left of it: tao-skills cancel {job_id}; or {wait}" if job_id else f"W{wait[1:]}"
    return ConflictError.of(
        "results_dir_in_use", message, f"{stop}; or choose another results_dir.", path="results_dir"
    )
