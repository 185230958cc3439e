"""Headers of media files by path, size and time of change, kept between plans in one file that may be lost at any time.

Plans and jobs of the same user share it. Without it, or with a broken or read-only one, every file is read again.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple
from pathlib import Path

from tao_skill_bank.core import settings
from tao_skill_bank.data.media.content import MediaKind
from tao_skill_bank.data.media.header import Header

VERSION = 1  # raised when `read_header` says something else of the same file
MAX_BYTES = 1 << 28  # about two million headers; beyond it the cache starts again
LOCK_SECONDS = 2.0  # how long another writer is waited for
CREATE = """CREATE TABLE IF NOT EXISTS headers (
    kind TEXT, path BLOB, size INTEGER, changed INTEGER, width INTEGER, height INTEGER, num_frames INTEGER,
    duration_seconds REAL, rate REAL, is_variable INTEGER, is_animated INTEGER, num_present INTEGER,
    PRIMARY KEY (kind, path)) WITHOUT ROWID"""
FIND = (
    "SELECT width, height, num_frames, duration_seconds, rate, is_variable, is_animated, num_present"
    " FROM headers WHERE kind = ? AND path = ? AND size = ? AND changed = ?"
)
STORE = f"INSERT OR REPLACE INTO headers VALUES ({', '.join('?' * 12)})"
TYPES = (int, int, int, float, float, int, int, int)

Key = tuple[MediaKind, bytes, int, int]


def folder() -> Path:
    """Return the folder of the cache."""
    return settings.state_dir() / "cache" / "headers"


def key(kind: MediaKind, path: str) -> Key:
    """Return what a file's header is kept under. Raises OSError for a file that is not there."""
    status = os.stat(path)  # noqa: PTH116 - a million of them
    absolute = path if path[:1] == "/" else os.path.abspath(path)  # noqa: PTH100
    return kind, os.fsencode(absolute), status.st_size, status.st_mtime_ns


class HeaderCache:
    """The cache on disk; whatever is wrong with it makes it empty."""

    def __init__(self) -> None:
        self._file = folder() / f"headers-{VERSION}.sqlite"

    @contextmanager
    def reading(self) -> Iterator["Reader"]:
        """Open the cache to look headers up, in one thread."""
        connection = None
        with suppress(OSError, sqlite3.Error):
            if self._file.is_file():
                connection = sqlite3.connect(f"{self._file.as_uri()}?mode=ro", uri=True, timeout=LOCK_SECONDS)
        try:
            yield Reader(connection)
        finally:
            if connection:
                connection.close()

    def store(self, found: Iterable[tuple[Key, Header]]) -> None:
        """Keep headers for the next plan, where that is possible."""
        rows = [(*key, *astuple(header)) for key, header in found]
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if self._file.is_file() and self._file.stat().st_size > MAX_BYTES:
                self._file.unlink()
            with suppress(sqlite3.Error):  # locked, read-only, or on a full disk
                try:
                    self._write(rows)
                except sqlite3.OperationalError:
                    raise
                except sqlite3.DatabaseError:  # not a database any more
                    self._file.unlink(missing_ok=True)
                    self._write(rows)

    def _write(self, rows: list[tuple[object, ...]]) -> None:
        with closing(sqlite3.connect(self._file, timeout=LOCK_SECONDS)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(CREATE)
            connection.executemany(STORE, rows)


class Reader:
    """An open cache; without a connection it is empty."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection

    def find(self, wanted: Key) -> Header | None:
        """Return the header that is kept of a file as it is now."""
        if self._connection is None:
            return None
        try:
            row = self._connection.execute(FIND, wanted).fetchone()
        except sqlite3.Error:
            self._connection.close()
            self._connection = None
            return None
        if row is None or tuple(map(type, row)) != TYPES:
            return None
        width, height, frames, seconds, rate, is_variable, is_animated, present = row
        return Header(width, height, frames, seconds, rate, bool(is_variable), bool(is_animated), present)
