"""Reads the header of every media file of a dataset: in a few child processes, within a budget of time, and cached.

A file that hangs or crashes its child costs that file; a new child continues with the next one.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tao_skill_bank.data import header_cache, header_child
from tao_skill_bank.data.child_lines import ChildLines
from tao_skill_bank.data.header_cache import HeaderCache, Key
from tao_skill_bank.data.media import picture
from tao_skill_bank.data.media.clip_index import require_decoder
from tao_skill_bank.data.media.content import MediaKind
from tao_skill_bank.data.media.header import Header
from tao_skill_bank.data.media.refusals import refused
from tao_skill_bank.errors import BlockedError, Problem

DEFAULT_SECONDS = 120.0  # for all files of one plan
FILE_SECONDS = 10.0  # for one file, of which a sound one takes a few milliseconds
START_SECONDS = 60.0  # for the imports of a child
MAX_CHILDREN = 4
FILES_PER_CHILD = 64  # fewer do not pay for the start of another child
STORED_AT_ONCE = 500


class MediaFile(NamedTuple):
    """A media file, and what it is read as."""

    kind: MediaKind
    path: str


Unknown = tuple[MediaFile, Key | None]  # a file, and its state before it is read: if it changes, it is read again


class Budget:
    """The seconds that are left for headers; looks at several inputs share it, one after the other."""

    def __init__(self, seconds: float = DEFAULT_SECONDS) -> None:
        self.seconds = seconds
        self.left = seconds

    @contextmanager
    def spent(self) -> Iterator[float]:
        """Yield the time on the monotonic clock at which the budget ends; the block's time is taken off it."""
        began = time.monotonic()
        try:
            yield began + self.left
        finally:
            self.left = max(0.0, self.left - (time.monotonic() - began))


@dataclass
class Look:
    """The headers of some files, why others have none, and how many were not reached in time."""

    headers: dict[MediaFile, Header] = field(default_factory=dict)
    broken: dict[MediaFile, BlockedError] = field(default_factory=dict)
    num_left: int = 0

    def of(self, file: MediaFile) -> Header | BlockedError | None:
        """Return the header of a file or why it has none; None where it was not reached."""
        return self.headers.get(file) or self.broken.get(file)


def look(files: Iterable[MediaFile], pool: Executor, budget: Budget) -> Look:
    """Read the headers of files, each once; `pool` runs a thread per child.

    Raises:
        MissingExtraError: PyAV, or Pillow for pictures, is not installed.

    """
    wanted = list(dict.fromkeys(files))
    if wanted:
        require_decoder()
    if any(file.kind == "image" for file in wanted):
        picture.require_pillow()
    found = Look()
    cache = HeaderCache()
    with budget.spent() as end:
        unknown = _known(wanted, cache, found, end)
        num_children = min(MAX_CHILDREN, os.cpu_count() or 1, -(-len(unknown) // FILES_PER_CHILD))
        shares = [unknown[start::num_children] for start in range(num_children)]
        for share in pool.map(lambda share: _Share(share, cache, end).read(), shares):
            found.headers |= share.headers
            found.broken |= share.broken
    found.num_left = len(wanted) - len(found.headers) - len(found.broken)
    return found


def _known(wanted: Sequence[MediaFile], cache: HeaderCache, found: Look, end: float) -> list[Unknown]:
    """Take the cached headers into `found` and return the files without one, as far as the time goes."""
    unknown: list[Unknown] = []
    same: dict[Header, Header] = {}  # many clips of a dataset have equal headers
    with cache.reading() as reader:
        for file in wanted:
            if time.monotonic() >= end:
                break
            key = _key(file)
            header = reader.find(key) if key else None
            if header is None:
                unknown.append((file, key))
            else:
                found.headers[file] = same.setdefault(header, header)
    return unknown


def _key(file: MediaFile) -> Key | None:
    """Return the key of a file in the cache; None for one that is not there, as its child will say."""
    try:
        return header_cache.key(file.kind, file.path)
    except OSError:
        return None


class _Share:
    """The files that one thread reads through its children."""

    def __init__(self, files: Sequence[Unknown], cache: HeaderCache, end: float) -> None:
        self._left = list(reversed(files))
        self._cache = cache
        self._end = end
        self._found = Look()
        self._new: list[tuple[Key, Header]] = []

    def read(self) -> Look:
        """Read as many files as the time allows."""
        while self._left and time.monotonic() < self._end:
            if not self._read_in_child():
                break
        self._cache.store(self._new)
        return self._found

    def _read_in_child(self) -> bool:
        """Read files until one is bad for the child, or all are read; False when the child does not start in time."""
        with tempfile.TemporaryFile() as given:
            given.writelines(f"{json.dumps(file)}\n".encode() for file, _ in reversed(self._left))
            given.seek(0)
            command = [sys.executable, "-P", "-m", header_child.__name__]
            with subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
                try:
                    lines = ChildLines(child)
                    if lines.next(min(START_SECONDS, self._seconds_left())) != header_child.READY:
                        return False
                    while self._left and self._take(lines, child):
                        self._left.pop()
                finally:
                    child.kill()
        return True

    def _take(self, lines: ChildLines, child: "subprocess.Popen[bytes]") -> bool:
        """Take the answer on the next file; False when the child cannot continue or the time is over."""
        file, key = self._left[-1]
        seconds = min(FILE_SECONDS, self._seconds_left())
        line = lines.next(seconds)
        if line is None and seconds < FILE_SECONDS:
            return False  # the budget is spent, which says nothing of the file
        if not line:
            self._left.pop()
            reason = f"the decoder died with exit code {child.wait()}" if line is not None else ""
            self._found.broken[file] = _bad_for_child(file, reason)
            return False
        answered = json.loads(line)
        if "problem" in answered:
            self._found.broken[file] = BlockedError([Problem(**answered["problem"])])
            return True
        header = self._found.headers[file] = Header(*answered)
        if key:
            self._new.append((key, header))
        if len(self._new) >= STORED_AT_ONCE:
            self._cache.store(self._new)
            self._new = []
        return True

    def _seconds_left(self) -> float:
        return max(0.0, self._end - time.monotonic())


def _bad_for_child(file: MediaFile, reason: str) -> BlockedError:
    if reason:
        return refused(Path(file.path), reason)
    return refused(Path(file.path), f"its header could not be read within {FILE_SECONDS:g} seconds", code="media_hangs")
