"""Permissions of files that a library creates for their owner alone: containers and colleagues read models and data."""

from contextlib import suppress
from pathlib import Path

from tao_skill_bank.core import unfinished

PRIVATE_FILE = 0o600


def follow(path: Path) -> None:
    """Give a file, or the safetensors files below a folder, the permissions of a new file.

    safetensors writes a temporary file that only its owner may read, and renames it. Raises OSError.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.safetensors"))
    private = [file for file in files if _is_ours(file)]
    if not private:
        return
    sample = unfinished.next_to(private[0])
    sample.touch()
    try:
        mode = sample.stat().st_mode & 0o777
    finally:
        with suppress(OSError):
            sample.unlink()
    for file in private:
        file.chmod(mode)


def _is_ours(file: Path) -> bool:
    """Return whether a file was just written: one with more names is that of the model that it was taken from."""
    found = file.lstat()
    return found.st_nlink == 1 and not file.is_symlink() and found.st_mode & 0o777 == PRIVATE_FILE
