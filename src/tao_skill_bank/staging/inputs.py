"""Stages a job's inputs from an object store: one file, a folder, or the files of it that an annotation names.

The result is a link to immutable data: a blob of `blobs`, or a folder of links to blobs whose name is a hash of its
content. A dataset that changes later does not change under a running job, and jobs share equal content.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tao_skill_bank.core import settings, unfinished
from tao_skill_bank.core.listing import listed
from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.staging import archives, blobs, places, store_errors, stores
from tao_skill_bank.staging.progress import Progress, mib
from tao_skill_bank.staging.stores import Entry, Store

NUM_DOWNLOADS = 16
logger = logging.getLogger(__name__)
ProgressCallback = Callable[[str], None]


@dataclass(frozen=True)
class Staged:
    """The staged data, and how much of it was downloaded."""

    path: Path
    files: int
    num_bytes: int
    downloaded: int


def stage(uri: str, path: Path, report: ProgressCallback = logger.info) -> Staged:
    """Make `path` a link to the data at `uri`; cached data is not downloaded again.

    Args:
        uri: a file or folder; with the fragment `#named-in=FILE`, a folder or tar archive of which only the media
            named by an annotation file are staged.
        path: the link; an existing link is replaced, anything else is refused.
        report: called with a progress line from time to time.

    Raises:
        BlockedError: something named is missing, access is refused, the disk is too small, a checksum is wrong, or
            `path` is not a link to staged data.
        BackendError: the store cannot be reached.

    """
    root, annotation = places.split_fragment(uri)
    if path.exists() and not path.is_symlink():
        message = f"{path} exists and is not a link to staged data."
        raise BlockedError.of("staging_target_in_use", message, "Give a new path, or move it.", path=str(path))
    store = stores.of(root)
    with store_errors.explained(root):
        staged = _whole(store, root, report) if annotation is None else _named(store, root, Path(annotation), report)
    _link(path, staged.path)
    of_them = f"{mib(staged.num_bytes)} MiB, of which {mib(staged.downloaded)} downloaded"
    report(f"Staged {root}: {staged.files} files, {of_them}.")
    return Staged(path, staged.files, staged.num_bytes, staged.downloaded)


def _whole(store: Store, root: str, report: ProgressCallback) -> Staged:
    """Stage one file, or every file below a folder."""
    if not root.endswith("/"):
        with suppress(FileNotFoundError, IsADirectoryError):
            entry = store.entry(root)
            downloaded = _download(store, {"": entry}, root, report)
            return Staged(blobs.path_of(entry), 1, entry.size, downloaded)
    found = stores.relative(store.below(root), root)
    if not found:
        raise store_errors.missing(root)
    downloaded = _download(store, found, root, report)
    folder = _folder_of({name: blobs.path_of(entry) for name, entry in found.items()})
    return Staged(folder, len(found), sum(entry.size for entry in found.values()), downloaded)


def _named(store: Store, root: str, annotation: Path, report: ProgressCallback) -> Staged:
    names = names_in(annotation)
    if places.is_archive(root):
        taken = archives.take(store, root, names, report)
        return Staged(_folder_of(taken.files), len(names), taken.num_bytes, taken.downloaded)
    entries = store.entries([places.join(root, name) for name in names])
    found = stores.relative(entries.values(), root)
    if absent := [name for name in names if name not in found]:
        message = (
            f"{len(absent)} of the {len(names)} media that {annotation} names are not in {root}: {listed(absent)}."
        )
        fix = "Correct the names or the media path, upload the files, or drop the records."
        raise BlockedError.of("media_missing", message, fix, path=root)
    downloaded = _download(store, found, root, report)
    folder = _folder_of({name: blobs.path_of(entry) for name, entry in found.items()})
    return Staged(folder, len(found), sum(entry.size for entry in found.values()), downloaded)


def names_in(annotation: Path) -> list[str]:
    """Return the unique media names of an annotation file, as plain relative paths.

    Raises:
        BlockedError: the file cannot be read, or a name points outside the media path.

    """
    names = dict.fromkeys(
        name for record in stream_records(annotation) for media in media_of(record) for name in media.files
    )
    outside = [name for name in names if "://" in name or name.startswith("/") or ".." in PurePosixPath(name).parts]
    if outside:
        message = f"Media names in {annotation} point outside the media path: {listed(outside)}."
        raise BlockedError.of(
            "media_outside_root", message, "Name media relative to the media path.", path=str(annotation)
        )
    return list(dict.fromkeys(str(PurePosixPath(name)) for name in names))


def _download(store: Store, entries: Mapping[str, Entry], root: str, report: ProgressCallback) -> int:
    """Download what is not cached, after a disk space check. Returns the number of downloaded bytes."""
    wanted = list({blobs.path_of(entry): entry for entry in entries.values() if not blobs.has(entry)}.values())
    needed = sum(blobs.bytes_left(entry) for entry in wanted)
    blobs.require_space(needed, root)
    progress = Progress(f"Staging {root}", len(wanted), needed, report)

    def fetch(entry: Entry) -> None:
        blobs.fetch(store, entry, lambda count: progress.add(num_bytes=count))
        progress.add(files=1)

    in_parallel(fetch, wanted)
    return needed


def in_parallel(work: Callable[[Entry], None], entries: Iterable[Entry]) -> None:
    """Process every entry with a thread pool; stop at the first failure."""
    with ThreadPoolExecutor(NUM_DOWNLOADS) as pool:
        running = [pool.submit(work, entry) for entry in entries]
        try:
            for future in running:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _folder_of(files: Mapping[str, Path]) -> Path:
    """Return a folder of links to blobs by name; the same names and content give the same folder."""
    lines = (f"{name}\0{path.name}" for name, path in sorted(files.items()))
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:40]
    folder = settings.state_dir() / "cache" / "staged" / "sets" / digest
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = unfinished.next_to(folder)
    work.mkdir()
    try:
        for name, path in files.items():
            link = work / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
        with suppress(OSError):  # another job was faster
            work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _link(path: Path, target: Path) -> None:
    """Make `path` a link to `target` atomically, replacing an existing link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = unfinished.next_to(path)
    work.symlink_to(target)
    work.replace(path)
