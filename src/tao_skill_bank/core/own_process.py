"""Which process this is, so that another one can find out later whether it still lives."""

import os
import socket
from functools import cache
from pathlib import Path
from typing import Any

START_TIME_TOLERANCE_SECONDS = 2.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/pid")


@cache
def machine() -> str:
    """Return what tells machines apart whose process ids differ in meaning: the boot, and the namespace of the ids."""
    try:
        return f"{BOOT_ID.read_text(encoding='ascii').strip()[:13]}-{NAMESPACE.stat().st_ino}"
    except OSError:  # not Linux
        return socket.gethostname()


def identity() -> dict[str, Any]:
    """Return the identity of this process as JSON values."""
    import psutil

    return {
        "host": socket.gethostname(),
        "machine": machine(),
        "pid": os.getpid(),
        "start_time": psutil.Process().create_time(),
    }


def is_alive(found: dict[str, Any]) -> bool | None:
    """Return whether the process of an identity runs; None where that cannot be found out from here."""
    import psutil

    if found.get("machine") != machine():
        return None
    try:
        process = psutil.Process(int(found["pid"]))
        started = abs(process.create_time() - float(found["start_time"])) <= START_TIME_TOLERANCE_SECONDS
        return started and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
        return False
    except psutil.Error:
        return None
