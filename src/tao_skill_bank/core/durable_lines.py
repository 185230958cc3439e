"""Appends JSON lines that a kill cannot take back: on the disk before anything follows from them."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def append(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Append objects as lines and wait until they are on the disk; a torn last line is ended first. Raises OSError."""
    is_new = not path.exists()
    text = "".join(f"{json.dumps(each, ensure_ascii=False, allow_nan=False)}\n" for each in objects)
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            text = text if file.read(1) == b"\n" else f"\n{text}"
        file.write(text.encode("utf-8", "backslashreplace"))
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
