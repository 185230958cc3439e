"""Paths that a dataset names: only those that stay inside its folder are used."""

import re
from pathlib import Path, PurePosixPath

from tao_skill_bank.errors import BlockedError

MAX_BYTES = 255
COMPONENT = re.compile(r"[^/\\\0]+")


def inside(root: Path, name: str, named_in: str) -> Path:
    """Return the path of a name below `root`. Raises BlockedError when it leads out of it or cannot be a path."""
    path = PurePosixPath(name)
    parts = path.parts
    if path.is_absolute() or not parts or ".." in parts or not all(map(is_component, parts)):
        message = f"{named_in} names {name[:MAX_BYTES]!a}, which is not a path inside {root}."
        fix = "Give the dataset as it was written, with files inside its own folder."
        raise BlockedError.of("path_outside_dataset", message, fix, path=named_in)
    return root / path


def is_component(name: object) -> bool:
    """Return whether a name can be that of one file or folder."""
    if not isinstance(name, str) or not COMPONENT.fullmatch(name) or name in (".", ".."):
        return False
    try:
        return len(name.encode()) <= MAX_BYTES
    except UnicodeEncodeError:
        return False
