"""Ends a process when the one that started it dies, whatever killed that one."""

import ctypes
import os
import signal
import sys
from pathlib import Path

from tao_skill_bank.core import settings

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def for_children() -> dict[str, str]:
    """Return the environment that tells children of this process whom to end with."""
    return {settings.STARTER: str(os.getpid())}


def end_with_starter(number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send a signal to this process when its starter dies; it may be dead already.

    A process that was started in another way, or that does not run on Linux, is left alone.
    """
    starter = settings.starter()
    if starter is None or sys.platform != "linux":
        return
    if os.getppid() == starter:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != starter and not _lives(starter):
        os.kill(os.getpid(), number)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in ("Z", "X")  # not reaped yet
