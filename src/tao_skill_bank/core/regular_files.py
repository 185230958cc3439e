"""Opens files that may come from anybody: a pipe or a device in a folder is refused, since reading it has no end."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 1 << 30  # of a file that is read whole


def opened(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises OSError where there is none, a pipe and a device included."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would block
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "Is a pipe or a device, not a file", str(path))
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file. Raises OSError like `opened`, and for more than MAX_BYTES."""
    with opened(path) as file:
        return read_at_most(file, MAX_BYTES, path)


def read_given(path: Path, limit: int) -> bytes:
    """Return what a file holds that the user names, a pipe included. Raises OSError for more than `limit` bytes."""
    with path.open("rb") as file:
        return read_at_most(file, limit, path)


def read_at_most(file: BinaryIO, limit: int, path: Path) -> bytes:
    """Return the rest of an open file. Raises OSError for more than `limit` bytes."""
    if os.fstat(file.fileno()).st_size > limit or len(data := file.read(limit + 1)) > limit:
        raise OSError(errno.EFBIG, f"Has more than {limit:,} bytes", str(path))
    return data
