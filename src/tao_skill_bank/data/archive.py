"""Reads a tar archive of media once: lists its members, notes unsafe ones, and takes out the sampled files."""

import io
import os
import tarfile
import time
from array import array
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from tao_skill_bank.core import archives, hashes
from tao_skill_bank.core.archives import Archive, ArchiveError


@dataclass
class Listing:
    """What one pass over an archive found.

    Attributes:
        names: hash of every plain file's path: the archive's own, then the name without a leading `./`.
        unsafe: members that are links, devices, absolute or lead out of the archive.
        extracted: sampled names that were written, to their files.
        is_complete: False when time ran out before the end.

    """

    names: "array[int]" = field(default_factory=hashes.new)
    unsafe: list[str] = field(default_factory=list)
    extracted: dict[str, Path] = field(default_factory=dict)
    error: str = ""
    is_complete: bool = False


def read(path: Path, wanted: Collection[str], target: Path, timeout_seconds: float) -> Listing:
    """Read through the archive, writing the first member of each name in `wanted` below `target`."""
    listing = Listing()
    root = os.path.realpath(path)
    try:
        with _Deadline(path, timeout_seconds) as raw:
            archive = Archive(cast(BinaryIO, raw), path.stat().st_size)
            for member in archive:
                if name := _safe_file(member, listing):
                    listing.names.append(hash(f"{root}/{name}"))
                    if name in wanted and name not in listing.extracted:
                        _extract(archive, member, name, target, listing)
        listing.is_complete = True
    except TimeoutError:
        listing.is_complete = False  # reported as not checked
    except (ArchiveError, OSError) as error:
        listing.error = str(error)
    return listing


def _safe_file(member: tarfile.TarInfo, listing: Listing) -> str:
    """Return the plain name of a file; empty for a folder, and for what is noted as unsafe."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isreg() or member.isdir()):
        listing.unsafe.append(member.name)
        return ""
    return archives.plain_name(member) if member.isreg() else ""


def _extract(archive: Archive, member: tarfile.TarInfo, name: str, target: Path, listing: Listing) -> None:
    file = target / f"{len(listing.extracted)}{PurePosixPath(name).suffix}"
    with file.open("wb") as sink:
        archive.copy(member, sink)
    listing.extracted[name] = file


class _Deadline(io.FileIO):
    """A file that stops giving bytes when its time is up, so that a huge archive cannot hold up the launch."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__(path)
        self._end = time.monotonic() + timeout_seconds

    def read(self, size: int | None = -1, /) -> bytes:
        if time.monotonic() > self._end:
            raise TimeoutError
        return super().read(size)
