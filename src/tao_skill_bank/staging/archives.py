"""Extracts named members of a tar archive in an object store.

A plain tar of large members is read by byte ranges: its headers form a cached index, and then only the named
members are downloaded. The headers form a chain, so an index costs one round trip per member. Where that takes longer
than a full download, or the archive is compressed, the whole archive is downloaded and cached like any other content.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from tao_skill_bank.core import settings, unfinished
from tao_skill_bank.core.archives import Archive, ArchiveError, extract, plain_name
from tao_skill_bank.core.listing import listed
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.runs.run_directory import read_json_file, write_whole
from tao_skill_bank.staging import blobs, store_errors
from tao_skill_bank.staging.progress import Progress
from tao_skill_bank.staging.stores import NUM_REQUESTS, Entry, Store

# One header costs as much as this many bytes of a transfer: 30 ms at 64 MiB/s. Measure before you change it.
BYTES_PER_HEADER = 2 * 2**20
SMALL_BYTES = 8 * 2**20  # archives that come whole without a look
WINDOW_BYTES = 8 * 2**10  # a header with its long name, and the next one where the member is small

ProgressCallback = Callable[[str], None]


@dataclass(frozen=True)
class Member:
    """A file of an archive and its byte range."""

    start: int
    size: int


@dataclass(frozen=True)
class Taken:
    """Members by name, their size, and how much was downloaded for them."""

    files: dict[str, Path]
    num_bytes: int
    downloaded: int


def take(store: Store, uri: str, names: Sequence[str], report: ProgressCallback) -> Taken:
    """Return the named members of an archive as files.

    Raises:
        BlockedError: the archive lacks members or cannot be read, or the disk is too small.

    """
    with store_errors.explained(uri):
        entry = store.entry(uri)
    paths = {name: _path_of(entry, name) for name in names}
    wanted = [name for name, path in paths.items() if not path.is_file()]
    downloaded = 0
    if wanted:
        index = _index(store, entry, len(wanted), report)
        downloaded = _by_ranges(store, entry, index, wanted, report) if index else _whole(store, entry, wanted, report)
    return Taken(paths, sum(path.stat().st_size for path in paths.values()), downloaded)


def _path_of(entry: Entry, name: str) -> Path:
    """Return where a member is cached: keyed by the archive's content and the member's name."""
    digest = hashlib.sha256(f"{blobs.path_of(entry).name}\0{name}".encode()).hexdigest()[:40]
    return blobs.folder() / digest[:2] / f"{digest}{PurePosixPath(name).suffix}"


# --- by ranges ----------------------------------------------------------------------------------------------------


def _index(store: Store, entry: Entry, num_named: int, report: ProgressCallback) -> Mapping[str, Member] | None:
    """Return the members of a plain archive; None where the whole archive is cheaper to download, or already cached."""
    if not entry.uri.endswith(".tar") or entry.size <= SMALL_BYTES or blobs.has(entry):
        return None
    kept = settings.state_dir() / "cache" / "staged" / "indexes" / f"{blobs.path_of(entry).stem}.json"
    if isinstance(known := read_json_file(kept), dict):
        return {name: Member(*place) for name, place in known.items()}
    remote = _Remote(store, entry)
    found: dict[str, Member] = {}
    try:
        file = cast(BinaryIO, io.BufferedReader(remote, WINDOW_BYTES))
        for header in Archive(file, entry.size):
            if header.isreg():
                found.setdefault(plain_name(header), Member(header.offset_data, header.size))
            bytes_per_header = (header.offset_data + header.size) / remote.num_requests
            if remote.num_requests > 1 and _is_whole_cheaper(entry.size, bytes_per_header, num_named):
                report(f"{entry.uri}: the whole archive comes faster than its headers and members one by one.")
                return None
    except ArchiveError as error:
        raise _unreadable(entry.uri, str(error)) from None
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_whole(kept, json.dumps({name: (member.start, member.size) for name, member in found.items()}))
    return found


def _is_whole_cheaper(archive_bytes: int, bytes_per_header: float, num_named: int) -> bool:
    headers = archive_bytes / bytes_per_header * BYTES_PER_HEADER
    return headers + num_named * bytes_per_header >= archive_bytes


class _Remote(io.RawIOBase):
    """A file in a store, of which each read is one request; a tar reader finds its way from header to header in it."""

    def __init__(self, store: Store, entry: Entry) -> None:
        self.store, self.entry = store, entry
        self.num_requests = self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.entry.size}[whence]
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        end = min(self._position + len(buffer), self.entry.size)
        if self._position >= end:
            return 0
        data = blobs.read(self.store, self.entry, self._position, end)
        self.num_requests += 1
        buffer[: len(data)] = data
        self._position = end
        return len(data)


def _by_ranges(
    store: Store, entry: Entry, index: Mapping[str, Member], names: Sequence[str], report: ProgressCallback
) -> int:
    _require(entry.uri, names, index)
    needed = sum(index[name].size for name in names)
    blobs.require_space(needed, entry.uri)
    progress = Progress(f"Staging {entry.uri}", len(names), needed, report)

    def fetch(name: str) -> None:
        member, path = index[name], _path_of(entry, name)
        with _written(path) as sink:
            for start in range(0, member.size, blobs.CHUNK_BYTES):
                end = min(start + blobs.CHUNK_BYTES, member.size)
                sink.write(blobs.read(store, entry, member.start + start, member.start + end))
                progress.add(num_bytes=end - start)
        progress.add(files=1)

    with ThreadPoolExecutor(NUM_REQUESTS) as pool:
        list(pool.map(fetch, names))
    with store_errors.explained(entry.uri):
        if store.entry(entry.uri).version != entry.version:
            raise blobs.changed(entry)
    return needed


# --- the whole archive --------------------------------------------------------------------------------------------


def _whole(store: Store, entry: Entry, names: Sequence[str], report: ProgressCallback) -> int:
    """Download the archive and extract the members in one pass."""
    downloaded = blobs.bytes_left(entry)
    blobs.require_space(downloaded + entry.size, entry.uri)  # the archive and at most its entire content
    progress = Progress(f"Staging {entry.uri}", 1, downloaded, report)
    archive = blobs.fetch(store, entry, lambda count: progress.add(num_bytes=count))
    try:
        found = extract(archive, {name: _path_of(entry, name) for name in names})
    except ArchiveError as error:
        raise _unreadable(entry.uri, str(error)) from None
    _require(entry.uri, names, dict.fromkeys(found))
    return downloaded


def _require(uri: str, names: Sequence[str], there: Mapping[str, object]) -> None:
    if absent := [name for name in names if name not in there]:
        message = f"{len(absent)} of the {len(names)} named media are not in {uri}: {listed(absent)}."
        fix = "Correct the names, pack the archive with the media at its top, or drop the records."
        raise BlockedError.of("media_missing", message, fix, path=uri)


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that gets its final name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = unfinished.next_to(path)
    try:
        with work.open("wb") as file:
            yield file
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)


def _unreadable(uri: str, reason: str) -> BlockedError:
    return BlockedError.of("archive_unreadable", f"Archive {uri} cannot be read: {reason}.", "Pack it again.", path=uri)
