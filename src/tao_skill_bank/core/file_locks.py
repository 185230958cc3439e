"""Locks between processes: flock, and on a file system without locks a file that names its owner.

A lock by `flock` ends with the last process that has its open file. An owner file outlives a killed owner: it is
removed once its owner is known to be dead, or has not touched it for STALE_SECONDS.
"""

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from tao_skill_bank.core import own_process

UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
TOUCH_SECONDS, STALE_SECONDS = 10.0, 60.0
POLL_SECONDS = 0.05


class Outcome(Enum):
    """What became of an attempt to lock a file."""

    TAKEN = "taken"
    HELD = "held"  # by another process
    UNSUPPORTED = "unsupported"  # the file system has no locks


def take(descriptor: int, *, waits: bool = False, shared: bool = False) -> Outcome:
    """Lock an open file for as long as it, or a copy of it in any process, stays open. Raises OSError."""
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, operation if waits else operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return Outcome.HELD
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return Outcome.UNSUPPORTED
        raise
    return Outcome.TAKEN


@contextmanager
def exclusive(descriptor: int, path: Path) -> Iterator[None]:
    """Let one process at a time in; the others wait. `path` is the open file or folder. Raises OSError."""
    if take(descriptor, waits=True) is Outcome.TAKEN:
        yield  # the lock ends with the open file, also when this process is killed
        return
    owner = path.with_name(f".{path.name.removeprefix('.')}.owner")
    while not _claimed(owner):
        _remove_stale(owner)
        time.sleep(POLL_SECONDS)
    done = threading.Event()
    thread = threading.Thread(target=_touch, args=(owner, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        owner.unlink(missing_ok=True)


def has_locks(folder: Path) -> bool:
    """Return whether files below an existing folder can be locked, as far as that shows without writing a file."""
    flags = getattr(os, "O_TMPFILE", 0)
    try:
        descriptor = os.open(folder, flags | os.O_RDWR, 0o600) if flags else os.open(folder, os.O_RDONLY)
    except OSError:  # read-only, or without unnamed files
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError:
            return True
    try:
        return take(descriptor, shared=True) is not Outcome.UNSUPPORTED
    except OSError:
        return True
    finally:
        os.close(descriptor)


def _claimed(owner: Path) -> bool:
    """Create the owner file, whole at once. Raises OSError for anything but that it exists."""
    work = owner.with_name(f"{owner.name}.{os.getpid()}.{threading.get_ident()}")
    work.write_text(json.dumps(own_process.identity()), encoding="ascii")
    try:
        owner.hardlink_to(work)
    except FileExistsError:
        return False
    finally:
        work.unlink(missing_ok=True)
    return True


def _remove_stale(owner: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        text = owner.read_text(encoding="ascii")
        alive = own_process.is_alive(json.loads(text))
        is_old = time.time() - owner.stat().st_mtime > STALE_SECONDS
        if alive is False or (alive is None and is_old):
            aside = owner.with_name(f"{owner.name}.{os.getpid()}.stale")
            owner.rename(aside)  # only one process succeeds
            if aside.read_text(encoding="ascii") != text:  # claimed by another process in between
                owner.hardlink_to(aside)
            aside.unlink()


def _touch(owner: Path, done: threading.Event) -> None:
    while not done.wait(TOUCH_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(owner)
