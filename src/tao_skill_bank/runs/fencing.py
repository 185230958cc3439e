"""The writer of a run directory that started last is the only one that may publish there.

Each start writes `.writer.json` with an epoch, one more than that of the start before. A process of an earlier epoch,
on a node that was taken for lost, say, finds the later one before it publishes a checkpoint, `best/` or a result, and
ends. Where locks reach, `writer_lock` keeps a second writer from starting at all.
"""

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import EXIT_PEER_LOST
from tao_skill_bank.core import own_process, regular_files, settings
from tao_skill_bank.errors import JobFailedError, Problem

FILE = ".writer.json"
SUPERSEDED = "superseded"


@dataclass(frozen=True)
class Epoch:
    """One start of the processes that write a run directory; `token` tells starts apart that counted alike."""

    run_dir: Path
    number: int
    token: str


_own: list[Epoch] = []  # of this process: at most one


def begin(run_dir: Path) -> Epoch:
    """Make this process the writer of a run directory, and every earlier one a superseded one. Raises OSError."""
    before = holder(run_dir).get("epoch")
    epoch = Epoch(run_dir, 1 + (before if isinstance(before, int) else 0), secrets.token_hex(8))
    document = {"epoch": epoch.number, "token": epoch.token, "job_id": settings.job_id(), **own_process.identity()}
    work = run_dir / f"{FILE}.{epoch.token}.partial"
    with work.open("w", encoding="ascii") as file:
        file.write(json.dumps(document))
        file.flush()
        os.fsync(file.fileno())
    work.replace(run_dir / FILE)
    adopt(epoch)
    return epoch


def adopt(epoch: Epoch | None) -> None:
    """Make this process a part of an epoch, that of rank 0, or with None of none."""
    _own[:] = [] if epoch is None else [epoch]


def number() -> int:
    """Return the epoch of this process, 0 where it has none."""
    return max((own.number for own in _own), default=0)


def holder(run_dir: Path) -> dict[str, Any]:
    """Return the identity of the writer that started last, empty where that is not known."""
    with suppress(OSError, ValueError):
        found = json.loads(regular_files.read_bytes(run_dir / FILE))
        return found if isinstance(found, dict) else {}
    return {}


def require_current() -> None:
    """Raise JobFailedError when another writer has started since this process did. Call it before publishing."""
    for own in _own:
        found = holder(own.run_dir)
        number = found.get("epoch")
        if not isinstance(number, int) or number < own.number or found.get("token") == own.token:
            continue  # a shared file system may show an older file for a while
        who = f"job {found['job_id']}" if found.get("job_id") else "another run"
        message = f"{own.run_dir} is written by {who} now (process {found.get('pid')} on {found.get('host')}), which"
        message += " started later. This process ends and publishes nothing more."
        fix = "None is needed if the job was restarted. Else give one of the two runs another results_dir."
        raise JobFailedError([Problem(SUPERSEDED, message, fix, path=str(own.run_dir))], EXIT_PEER_LOST)
