"""A content-addressed cache of remote files; safe for concurrent jobs.

A download is appended to NAME.partial and gets its name when its size and checksum match. An interrupted download
resumes where it stopped, in this process or a later one.
"""

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from tao_skill_bank.core import file_locks, settings
from tao_skill_bank.errors import BackendError, BlockedError
from tao_skill_bank.staging import places, store_errors
from tao_skill_bank.staging.progress import mib
from tao_skill_bank.staging.stores import Entry, Store

CHUNK_BYTES = 8 * 2**20  # per request: the most that a dropped connection costs
MAX_ATTEMPTS = 6  # consecutive attempts without progress
FIRST_WAIT_SECONDS = 0.5
READ_BYTES = 2**20
ALGORITHMS = {"md5": "md5", "sha256": "sha256", "git-sha1": "sha1"}
SPARE_BYTES = 2**28  # left free in addition to the download
logger = logging.getLogger(__name__)


def folder() -> Path:
    """Return the cache folder."""
    return settings.state_dir() / "cache" / "staged" / "blobs"


def path_of(entry: Entry) -> Path:
    """Return the cache path of an entry's content, whether or not it exists; it keeps the file suffix."""
    identity = f"{entry.checksum or f'{entry.uri} {entry.version}'} {entry.size}"
    name = hashlib.sha256(identity.encode()).hexdigest()[:40]
    ending = PurePosixPath(entry.uri).suffix
    return folder() / name[:2] / f"{name}{ending if places.FILE_ENDING.fullmatch(ending) else ''}"


def has(entry: Entry) -> bool:
    """Return whether an entry's content is cached."""
    with suppress(OSError):
        return path_of(entry).stat().st_size == entry.size
    return False


def bytes_left(entry: Entry) -> int:
    """Return how many bytes of an entry are still to be downloaded."""
    if has(entry):
        return 0
    with suppress(OSError):
        return max(0, entry.size - _partial(path_of(entry)).stat().st_size)
    return entry.size


def require_space(num_bytes: int, root: str) -> None:
    """Raise BlockedError when the disk of the cache is too small for a download."""
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    if num_bytes and num_bytes + SPARE_BYTES > free:
        message = f"{root} needs {mib(num_bytes)} MiB more, but the disk of {place} has {mib(free)} MiB free."
        fix = (
            f"Free space there (rm -r {place} clears the cache of staged data), or set TAO_STATE_DIR to a larger disk."
        )
        raise BlockedError.of("disk_too_small", message, fix, path=str(place))


def fetch(
    store: Store, entry: Entry, note: Callable[[int], None] = lambda _: None, *, place: Path | None = None
) -> Path:
    """Return the file with an entry's content, downloaded when not cached.

    Args:
        store: of the entry.
        entry: what is downloaded.
        note: receives each chunk's size.
        place: the folder that it is downloaded to, instead of the cache.

    Raises:
        OSError: it cannot be written.
        BlockedError: the file is missing, access is refused, or the checksum does not match.
        BackendError: the store cannot be reached, or the connection keeps breaking.

    """
    target = path_of(entry) if place is None else place / path_of(entry).name
    if has(entry):
        return path_of(entry)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(_partial(target)) as file:
        if has(entry):  # another job downloaded it meanwhile
            _partial(target).unlink()
            return path_of(entry)
        _append(store, entry, file, note)
        _verify(store, entry, file, note)
        os.fchmod(file.fileno(), 0o644)
        _partial(target).rename(target)
    return target


def _verify(store: Store, entry: Entry, file: IO[bytes], note: Callable[[int], None]) -> None:
    """Compare with the store's checksum; on a mismatch, retry once. Without a checksum, compare versions."""
    if not entry.checksum:
        _asked_again(store, entry)
    if (found := _checksum(file, entry)) == entry.checksum:
        return
    entry = _asked_again(store, entry)
    if _checksum(file, entry) == entry.checksum:
        return
    file.truncate(0)
    _append(store, entry, file, note)
    if (found := _checksum(file, entry)) != entry.checksum:
        file.truncate(0)
        raise _mismatch(entry, found)


def read(store: Store, entry: Entry, start: int, end: int) -> bytes:
    """Return bytes of a remote file; broken connections are retried for some time.

    Raises:
        BlockedError: the file is gone, or access is refused.
        BackendError: the store cannot be reached, or the file is shorter than it was.

    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            data = store.read(entry, start, end)
        except Exception as error:  # noqa: BLE001 - whatever the store's client raises
            if not store_errors.is_worth_retrying(error) or attempt == MAX_ATTEMPTS:
                raise store_errors.explain(error, entry.uri) from None
            logger.info("%s was interrupted at byte %d (%s); resuming", entry.uri, start, type(error).__name__)
            time.sleep(FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
        else:
            if len(data) == end - start:
                return data
    raise changed(entry)


def changed(entry: Entry) -> BackendError:
    """Return the error for a file that changed after it was listed."""
    message = f"{entry.uri} changed while it was being downloaded."
    return BackendError.of(
        "remote_changed", message, "Run it again when the file is no longer being written.", path=entry.uri
    )


def _append(store: Store, entry: Entry, file: IO[bytes], note: Callable[[int], None]) -> None:
    """Append what is missing, chunk by chunk, so that a later attempt resumes after the last whole chunk."""
    file.seek(0, os.SEEK_END)
    if file.tell() > entry.size:
        file.truncate(0)
        file.seek(0)
    while (start := file.tell()) < entry.size:
        data = read(store, entry, start, min(start + CHUNK_BYTES, entry.size))
        file.write(data)
        file.flush()
        note(len(data))


def _asked_again(store: Store, entry: Entry) -> Entry:
    """Return the entry from a single-file query: a listing's ETag of an encrypted file is not a checksum."""
    with store_errors.explained(entry.uri):
        again = store.entry(entry.uri)
    if (again.version, again.size) != (entry.version, entry.size):
        raise changed(entry)
    return again


def _checksum(file: IO[bytes], entry: Entry) -> str:
    algorithm = entry.checksum.partition(":")[0]
    if not algorithm:
        return ""
    digest = hashlib.new(ALGORITHMS[algorithm], usedforsecurity=False)
    if algorithm == "git-sha1":
        digest.update(f"blob {entry.size}\0".encode())
    file.seek(0)
    while data := file.read(READ_BYTES):
        digest.update(data)
    return f"{algorithm}:{digest.hexdigest()}"


def _mismatch(entry: Entry, found: str) -> BlockedError:
    message = f"{entry.uri} has {found} after two downloads; its store reports {entry.checksum}. It was discarded."
    fix = "Upload the file again; if that does not help, check for a proxy between this machine and the store."
    return BlockedError.of("checksum_mismatch", message, fix, path=entry.uri)


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial")


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file exclusively for this process, waiting for other holders."""
    while True:
        with path.open("a+b") as file, file_locks.exclusive(file.fileno(), path):
            if not _is_still(path, file):
                continue  # the previous holder renamed it to its final name
            yield file
            return


def _is_still(path: Path, file: IO[bytes]) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
