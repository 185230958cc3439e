"""Evidence that the kernel killed a program because memory ran out; without it a SIGKILL has no known cause.

Read where a job's own engine does not report it: from the log, into which Slurm writes it, and from the kernel's count
of such kills in the control group that a job of this machine was started in.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

FILE, COUNT = "memory_events", "oom_kills"  # in the backend reference, as they were at the start
TAIL_BYTES = 64 * 1024
SAID = re.compile(rb"oom[-_ ]kill|oom killed|killed by the cgroup out-of-memory handler|out of memory: killed", re.I)
CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


def counted_now() -> dict[str, str | int]:
    """Return the file that counts such kills in this process's control group, and its count; empty where none does."""
    for path in _candidates():
        if (count := _count(path)) is not None:
            return {FILE: str(path), COUNT: count}
    return {}


def happened(reference: Mapping[str, Any], log_file: Path) -> bool:
    """Return whether memory ran out while a job ran, by its log or by the count since its start."""
    if SAID.search(_tail(log_file)):
        return True
    before = reference.get(COUNT)
    now = _count(Path(str(reference[FILE]))) if before is not None and FILE in reference else None
    return now is not None and now > int(before or 0)


def _candidates() -> Iterator[Path]:
    """Yield where the kernel may count, by both versions of control groups, and as a container sees its own."""
    with suppress(OSError):
        for line in OWN_GROUP.read_text(encoding="utf-8").splitlines():
            number, controllers, group = line.split(":", 2)
            group = group.lstrip("/")
            if number == "0":
                yield CGROUPS / group / "memory.events"
            elif "memory" in controllers.split(","):
                yield CGROUPS / "memory" / group / "memory.oom_control"
    yield CGROUPS / "memory.events"
    yield CGROUPS / "memory" / "memory.oom_control"


def _count(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        found = re.search(r"^oom_kill (\d+)$", path.read_text(encoding="ascii"), re.MULTILINE)
        return int(found[1]) if found else None
    return None


def _tail(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        return file.read()
    return b""
