"""Temporary names of files and folders that are being written, and the removal of those whose writer was killed."""

import hashlib
import itertools
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

from tao_skill_bank.core import own_process

NAME = re.compile(r"\..+\.([0-9a-f]{8})\.(\d+)\.\d+\.tmp(\.\w+)?")
FORGOTTEN_SECONDS = 24 * 3600.0  # a writer on another machine cannot be asked whether it lives
_numbers = itertools.count()
_cleaned: set[Path] = set()


def next_to(target: Path, suffix: str = "") -> Path:
    """Return a hidden name next to `target` that no other process or thread uses; `suffix` where a writer needs one.

    The first call for a folder removes what killed processes left there.
    """
    if target.parent not in _cleaned:
        _cleaned.add(target.parent)
        clean(target.parent)
    return target.with_name(f".{target.name}.{_machine()}.{os.getpid()}.{next(_numbers)}.tmp{suffix}")


def clean(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder, by its name; live ones and other files stay."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            match = NAME.fullmatch(path.name)
            if match and _is_abandoned(path, match[1], int(match[2])):
                remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, as far as possible."""
    with suppress(OSError):
        path.unlink()
        return
    shutil.rmtree(path, ignore_errors=True)


def _machine() -> str:
    return hashlib.sha256(own_process.machine().encode()).hexdigest()[:8]


def _is_abandoned(path: Path, machine: str, pid: int) -> bool:
    if machine != _machine():
        with suppress(OSError):
            return time.time() - path.lstat().st_mtime > FORGOTTEN_SECONDS
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False
