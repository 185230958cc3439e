"""One process runs a workflow at a time: the one that has the lock of its folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tao_skill_bank.errors import BlockedError, ConflictError
from tao_skill_bank.runs import fencing, writer_lock
from tao_skill_bank.workflows import commands


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold a run folder. Children do not inherit the lock, so that it ends with this process.

    Raises:
        ConflictError: another process runs the workflow there.
        BlockedError: the folder cannot be written.

    """
    try:
        lock = writer_lock.take(folder)
    except ConflictError:
        raise _running(folder) from None
    except OSError as error:
        message = f"The run folder {folder} cannot be written: {error.strerror or error}"
        fix = "Free disk space there, or choose another --folder."
        raise BlockedError.of("folder_unwritable", message, fix, path=str(folder)) from None
    try:
        fencing.begin(folder)
        yield
    finally:
        fencing.adopt(None)
        lock.close()


def is_held(folder: Path) -> bool:
    """Return whether a process runs the workflow of a folder now, as far as locks tell."""
    try:
        writer_lock.require_free(folder)
    except ConflictError:
        return True
    return False


def _running(folder: Path) -> ConflictError:
    holder = fencing.holder(folder)
    who = f"process {holder.get('pid')} on {holder.get('host')}" if holder else "another process"
    message = f"The workflow in {folder} is being run by {who}."
    return ConflictError.of(
        "workflow_is_running", message, f"See how far it is: {commands.status(folder)}", path=str(folder)
    )
