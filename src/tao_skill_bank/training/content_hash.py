"""Hashes of files that are expensive to read, cached between runs."""

import hashlib
import re
from contextlib import suppress
from pathlib import Path

from tao_skill_bank.core import settings, unfinished


def content_hash(path: Path) -> str:
    """Return the sha256 of a file's content, cached until its size or modification time changes."""
    status = path.stat()
    name = hashlib.sha256(f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}".encode()).hexdigest()
    memo = settings.state_dir() / "cache" / "hashes" / name[:2] / name
    with suppress(OSError, ValueError):
        known = memo.read_text(encoding="ascii")
        if re.fullmatch(r"[0-9a-f]{64}", known):
            return known
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    with suppress(OSError):  # without the cache, the next run reads the file again
        memo.parent.mkdir(parents=True, exist_ok=True)
        work = unfinished.next_to(memo)
        work.write_text(content, encoding="ascii")
        work.replace(memo)
    return content
