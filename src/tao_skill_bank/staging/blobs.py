"""Contents of remote files, kept once each under a name that follows from the content; safe for several jobs at once.

A download is appended to NAME.partial and gets its name when its size and checksum are right. One that was cut goes on
where it ended, in this process or in a later one.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from tao_skill_bank.core import settings
from tao_skill_bank.errors import BackendError, BlockedError
from tao_skill_bank.staging import places, store_errors
from tao_skill_bank.staging.progress import mib
from tao_skill_bank.staging.stores import Entry, Store

CHUNK_BYTES = 8 * 2**20  # of one request: what a dropped connection costs at most
MAX_ATTEMPTS = 6  # in a row that bring nothing
FIRST_WAIT_SECONDS = 0.5
READ_BYTES = 2**20
ALGORITHMS = {"md5": "md5", "sha256": "sha256", "git-sha1": "sha1"}
SPARE_BYTES = 2**28  # that are left free beside what is downloaded
logger = logging.getLogger(__name__)


def folder() -> Path:
    """Return where contents are kept."""
    return settings.state_dir() / "cache" / "staged" / "blobs"


def path_of(entry: Entry) -> Path:
    """Return where an entry's content is kept, whether or not it is there; it has the ending of the entry's name."""
    identity = f"{entry.checksum or f'{entry.uri} {entry.version}'} {entry.size}"
    name = hashlib.sha256(identity.encode()).hexdigest()[:40]
    ending = PurePosixPath(entry.uri).suffix
    return folder() / name[:2] / f"{name}{ending if places.FILE_ENDING.fullmatch(ending) else ''}"


def has(entry: Entry) -> bool:
    """Tell whether an entry's content is here."""
    with suppress(OSError):
        return path_of(entry).stat().st_size == entry.size
    return False


def bytes_left(entry: Entry) -> int:
    """Return how much of an entry has yet to be downloaded."""
    if has(entry):
        return 0
    with suppress(OSError):
        return max(0, entry.size - _partial(path_of(entry)).stat().st_size)
    return entry.size


def require_space(num_bytes: int, root: str) -> None:
    """Raise BlockedError when the disk of the cache has no room for a download."""
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    if num_bytes and num_bytes + SPARE_BYTES > free:
        message = f"{root} takes {mib(num_bytes)} MiB more, and the disk of {place} has {mib(free)} MiB free."
        fix = f"Free space there (rm -r {place} forgets what was staged), or set TAO_STATE_DIR to a larger disk."
        raise BlockedError.of("disk_too_small", message, fix, path=str(place))


def fetch(store: Store, entry: Entry, note: Callable[[int], None] = lambda _: None) -> Path:
    """Return the file with an entry's content, downloaded when it is not here; `note` is told how many bytes came.

    Raises:
        BlockedError: the place is missing, access is refused, or the content is not what the store's checksum says.
        BackendError: the store cannot be reached, or the connection broke again and again.

    """
    target = path_of(entry)
    if has(entry):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(_partial(target)) as file:
        if has(entry):  # another job was faster
            _partial(target).unlink()
            return target
        _append(store, entry, file, note)
        _verify(store, entry, file, note)
        os.fchmod(file.fileno(), 0o644)
        _partial(target).rename(target)
    return target


def _verify(store: Store, entry: Entry, file: IO[bytes], note: Callable[[int], None]) -> None:
    """Compare with the store's checksum; what differs is downloaded once more. Without one, ask for its version."""
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
    """Return bytes of a remote file; a connection that breaks is tried again, for some time.

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
            logger.info("%s broke off at byte %d (%s); going on", entry.uri, start, type(error).__name__)
            time.sleep(FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
        else:
            if len(data) == end - start:
                return data
    raise changed(entry)


def changed(entry: Entry) -> BackendError:
    """Return the error of a file that is another one than when it was asked for."""
    message = f"{entry.uri} was changed while it was downloaded."
    return BackendError.of("remote_changed", message, "Run it again once nobody writes it.", path=entry.uri)


def _append(store: Store, entry: Entry, file: IO[bytes], note: Callable[[int], None]) -> None:
    """Append what is missing, chunk by chunk, so that a later attempt goes on from the last whole chunk."""
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
    """Return the entry as it is told alone: a listing takes for a checksum what is none for an encrypted file."""
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
    message = f"{entry.uri} came twice with {found}; its store says {entry.checksum}. It was not taken."
    fix = "Upload the file again; if that does not help, look for a proxy between here and the store."
    return BlockedError.of("checksum_mismatch", message, fix, path=entry.uri)


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial")


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for this process alone, waiting for whoever has it."""
    while True:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_still(path, file):
                continue  # whoever had it gave it its final name
            yield file
            return


def _is_still(path: Path, file: IO[bytes]) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
