"""Folders that cannot be written, for any user: permissions do not stop root, and a full disk has to be made."""

import os
import resource
import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def full(_folder):
    """Let this process write no byte, as on a full disk; files that exist stay readable."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(folder):
    """Make a folder read-only: by its permissions, or for root by a mount."""
    if os.geteuid() != 0:
        before = folder.stat().st_mode
        folder.chmod(0o500)
        try:
            yield
        finally:
            folder.chmod(before)
        return
    if _mount("--bind", folder, folder):
        pytest.skip("root may not mount here")
    try:
        assert _mount("-o", "remount,ro,bind", folder) == 0
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def blocked(folder):
    """Put a folder where the lock file of the records is."""
    lock = folder / ".lock"
    lock.rename(folder / "moved")
    lock.mkdir()
    try:
        yield
    finally:
        lock.rmdir()
        (folder / "moved").rename(lock)


def _mount(*words):
    return subprocess.run(["mount", *map(str, words)], capture_output=True, check=False).returncode
