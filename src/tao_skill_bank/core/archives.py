"""Reads tar archives that come from anybody: one pass, in which every size is bounded before a byte is written.

All that opens an archive reads it here, so that a plan, a download and a trainer see the same members and bytes: none
that is stored sparsely, headers of ordinary size, no more content than the archive can hold, and a compressed archive
to its very end, where its checksum is.
"""

import bz2
import contextlib
import gzip
import lzma
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from tao_skill_bank.core import regular_files, unfinished

MAX_RATIO = 200  # content to compressed bytes: media have about 1, zeros in gzip 1,000
FREE_BYTES = 64 * 2**20  # content that any compressed archive may have
MAX_MEMBERS = 20_000_000
HEADER_BYTES = 64 * 2**10  # of one member, with its long name and attributes
CHUNK_BYTES = 2**20
DIGITS = re.compile(rb"[0-9]{300}")  # more than any name has; tarfile takes quadratic time for them

COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
DAMAGE = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError)
INVALID = (ValueError, OverflowError, IndexError, KeyError, struct.error)  # from numbers in headers


class ArchiveError(Exception):
    """An archive that cannot be read, or exceeds a bound; its text is the reason, without the archive's name."""


class Archive:
    """A tar archive that is read once, from its first member to its end."""

    def __init__(self, file: BinaryIO, num_bytes: int) -> None:
        self._source = _source(file, num_bytes)
        self._tar: tarfile.TarFile | None = None

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        """Yield every member; after the last one, the rest of a compressed archive has been verified.

        Raises:
            ArchiveError: the archive is damaged, or a member exceeds a bound.
            TimeoutError: as the file raises it.

        """
        for count, member in enumerate(iter(self._next, None)):
            if count >= MAX_MEMBERS:
                raise ArchiveError(f"it has more than {MAX_MEMBERS:,} members")
            self._require_bounded(member)
            yield member
        self._source.require_end()

    def copy(self, member: tarfile.TarInfo, sink: IO[bytes]) -> None:
        """Write the content of the member that was yielded last. Raises ArchiveError, and what the sink raises."""
        self._source.seek(member.offset_data)
        left = member.size
        while left:
            data = self._source.read(min(left, CHUNK_BYTES))
            if not data:
                raise ArchiveError(f"it ends within {member.name}")
            sink.write(data)
            left -= len(data)

    def _next(self) -> tarfile.TarInfo | None:
        with self._source.header():
            if self._tar is None:
                self._tar = tarfile.TarFile(fileobj=cast(IO[bytes], self._source))
            member = self._tar.next()
        self._tar.members = []  # type: ignore[attr-defined] # it would grow with the archive
        return member

    def _require_bounded(self, member: tarfile.TarInfo) -> None:
        if member.issparse() or member.type == tarfile.GNUTYPE_SPARSE:
            raise ArchiveError(f"{member.name} is stored sparsely; pack it without --sparse")
        if member.size < 0:
            raise ArchiveError(f"{member.name} has a negative size")
        if member.isreg():
            self._source.require_room(member)


class _Source:
    """The uncompressed bytes of an archive, for tarfile: only forward, and never more than the archive may hold."""

    def __init__(self, file: Any, limit: int, too_large: str, *, is_seekable: bool) -> None:
        self._file, self._limit, self._too_large, self._is_seekable = file, limit, too_large, is_seekable
        self._position = 0
        self._header_left: int | None = None
        self._last = b""

    @contextlib.contextmanager
    def header(self) -> Iterator[None]:
        """Bound what is read within, and require that it was a header or the end of the archive."""
        self._header_left, self._last = HEADER_BYTES, b""
        try:
            yield
        except TimeoutError:
            raise
        except DAMAGE as error:
            raise ArchiveError(str(error)) from None
        except INVALID as error:
            raise ArchiveError(f"a header is invalid: {error}") from None
        finally:
            self._header_left = None

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int) -> int:
        if offset < self._position:
            raise ArchiveError("a member lies before its header")
        if offset > self._limit:
            raise ArchiveError(self._too_large)
        if self._is_seekable:
            self._file.seek(offset)
            self._position = offset
        while self._position < offset and self._read(min(offset - self._position, CHUNK_BYTES)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        if self._header_left is not None:
            if not 0 <= size <= self._header_left:
                raise ArchiveError(f"a header is longer than {HEADER_BYTES} bytes")
            self._header_left -= size
        self._last = self._read(size)
        if self._header_left is not None and DIGITS.search(self._last):
            raise ArchiveError("a header holds a number of hundreds of digits")
        return self._last

    def require_room(self, member: tarfile.TarInfo) -> None:
        """Refuse a member of which the archive cannot hold what its header says."""
        if member.offset_data + member.size > self._limit:
            raise ArchiveError(f"{member.name} has {member.size} bytes by its header: {self._too_large}")

    def require_end(self) -> None:
        """Require that the archive ended where its members did; read what is left of a compressed one."""
        if self._last.strip(b"\0"):
            raise ArchiveError("what follows a member is not a header")
        while not self._is_seekable and self._read(CHUNK_BYTES):
            pass

    def _read(self, size: int) -> bytes:
        try:
            data = cast(bytes, self._file.read(size))
        except TimeoutError:
            raise
        except DAMAGE as error:
            raise ArchiveError(str(error)) from None
        self._position += len(data)
        if self._position > self._limit:
            raise ArchiveError(self._too_large)
        return data


def _source(file: BinaryIO, num_bytes: int) -> _Source:
    """Return the bytes of an archive of `num_bytes`, uncompressed by what its first bytes are."""
    try:
        start = file.read(6)
        file.seek(0)
    except TimeoutError:
        raise
    except OSError as error:
        raise ArchiveError(str(error)) from None
    kind = next((kind for magic, kind in COMPRESSIONS.items() if start.startswith(magic)), None)
    if kind is None:
        return _Source(file, num_bytes, "the archive ends before that", is_seekable=True)
    limit = max(FREE_BYTES, MAX_RATIO * num_bytes)
    reason = f"the content of the archive is more than {MAX_RATIO} times its own size of {num_bytes} bytes"
    return _Source(kind(file), limit, reason, is_seekable=False)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open an archive. Raises OSError where there is no such file, ArchiveError where it cannot be read."""
    with regular_files.opened(path) as file:
        yield Archive(file, path.stat().st_size)


def plain_name(member: tarfile.TarInfo) -> str:
    """Return the name of a member without a leading `./`."""
    return str(PurePosixPath(member.name))


def extract(path: Path, targets: Mapping[str, Path]) -> set[str]:
    """Write the named members to their files, and return the names that the archive has.

    No file gets its name before the whole archive was read, so that a damaged one leaves none.

    Raises:
        ArchiveError: the archive is damaged, or a member exceeds a bound.
        OSError: a file cannot be written.

    """
    written: dict[str, Path] = {}
    try:
        with opened(path) as archive:
            for member in archive:
                name = plain_name(member)
                if member.isreg() and name in targets and name not in written:
                    targets[name].parent.mkdir(parents=True, exist_ok=True)
                    written[name] = unfinished.next_to(targets[name])
                    with written[name].open("xb") as sink:
                        archive.copy(member, sink)
        for name, work in written.items():
            work.replace(targets[name])
    finally:
        for work in written.values():
            with contextlib.suppress(OSError):
                work.unlink(missing_ok=True)
    return set(written)
