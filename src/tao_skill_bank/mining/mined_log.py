"""The append-only log of what was mined, over all iterations of a loop: one JSON object per clip."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import file_locks, json_reader, regular_files
from tao_skill_bank.core.findings import warning
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.runs.status_log import now


@dataclass
class Mined:
    """What minings other than the present one have taken.

    Attributes:
        paths, contents: of the clips; a content is a SHA-256.
        records: id of a record -> its clip.
        own: paths of the clips that the present mining has logged already.
        num_unread: lines that could not be read.

    """

    paths: set[str] = field(default_factory=set)
    contents: set[str] = field(default_factory=set)
    records: dict[str, str] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    num_unread: int = 0

    def findings(self, path: Path) -> list[Finding]:
        """Return a warning where lines could not be read."""
        if not self.num_unread:
            return []
        message = f"{self.num_unread} lines of {path} cannot be read, so what they name may be mined again."
        fix = "A line that a kill tore is repeated with its mining; correct any other one."
        return [warning("mined_log_torn", message, fix, str(path), count=self.num_unread)]


@contextmanager
def locked(path: Path | None) -> Iterator[None]:
    """Let one mining at a time use a log; the others wait. Raises BlockedError where it cannot be written."""
    if path is None:
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _unusable(path, error) from None
    try:
        with file_locks.exclusive(descriptor, path):
            yield
    finally:
        os.close(descriptor)


def read(path: Path | None, mining: str) -> Mined:
    """Read a log; `mining` is the present one. Raises BlockedError where it cannot be read."""
    found = Mined()
    if path is None:
        return found
    try:
        lines = regular_files.read_bytes(path).split(b"\n")
    except OSError as error:
        raise _unusable(path, error) from None
    for line in filter(None, lines):
        entry = _entry(line)
        if entry is None:
            found.num_unread += 1
        elif entry["mining"] == mining:
            found.own.add(entry["path"])
        else:
            found.paths.add(entry["path"])
            found.contents.add(entry["content_sha256"])
            found.records |= dict.fromkeys(entry["record_ids"], entry["path"])
    return found


def append(path: Path | None, mining: str, clips: Sequence[Mapping[str, Any]], known: Mined) -> None:
    """Append the clips of a mining that are not in its log yet, durably. Raises BlockedError."""
    if path is None:
        return
    lines = [
        json.dumps({"time": now(), "mining": mining, **{key: clip[key] for key in ENTRY}}, ensure_ascii=False)
        for clip in clips
        if clip["path"] not in known.own
    ]
    try:
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                torn = file.read(1) != b"\n"
                lines = ["", *lines] if torn and lines else lines
            file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unusable(path, error) from None


ENTRY = ("path", "content_sha256", "record_ids")


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json_reader.loads(line)
    except ValueError:
        return None
    texts = ("mining", "path", "content_sha256")
    is_whole = isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in texts)
    return entry if is_whole and isinstance(entry.get("record_ids"), list) else None


def _unusable(path: Path, error: OSError) -> BlockedError:
    message = f"The log {path} cannot be used: {error.strerror or error}."
    return BlockedError.of("mined_log_unusable", message, "Give a file that can be written.", path=str(path))
