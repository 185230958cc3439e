"""Which machine launched a job, for platforms whose jobs only that machine can query."""

import socket
from collections.abc import Mapping
from typing import Any

from tao_skill_bank.contracts import JobRecord, JobStatus, State
from tao_skill_bank.core.findings import warning

LAUNCHER = "launcher"  # the process that is about to submit, until its platform's reference replaces it


def here() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def other(record: JobRecord, key: str | None) -> str | None:
    """Return the machine that a record names under `key`, or as that of its launcher; None if it is this one."""
    reference = record.backend_ref
    named = reference.get(key) if key else None
    if LAUNCHER in reference:
        named = reference[LAUNCHER]["host"]
    return None if named in (None, here()) else str(named)


def adopted(record: JobRecord, key: str | None) -> dict[str, Any]:
    """Return the backend reference of a job that this machine takes over."""
    reference: Mapping[str, Any] = record.backend_ref
    if LAUNCHER in reference:
        return {**reference, LAUNCHER: {**reference[LAUNCHER], "host": here()}}
    return dict(reference) if key is None else {**reference, key: here()}


def message(record: JobRecord, machine: str) -> str:
    """Return why this machine does not know the job."""
    return f"Job {record.id} was launched on host {machine}; this is host {here()}, which cannot see it."


def fix(record: JobRecord, machine: str, verb: str = "status") -> str:
    """Return what to do on either machine, or about a record whose machine was renamed or is gone."""
    words = f"On {machine}: tao-skills {verb} {record.id}. "
    words += f"If {machine} was this machine's name, adopt the record: tao-skills status {record.id} --adopt. "
    return f"{words}If it is gone, close the record: tao-skills cancel {record.id} --close"


def unknown(record: JobRecord, machine: str, progress: dict[str, Any]) -> JobStatus:
    """Return the status of a job whose state only another machine knows."""
    why = warning("other_host", message(record, machine), fix(record, machine), record.id, host=machine)
    return JobStatus(record.id, State.UNKNOWN, why.message, progress=progress, findings=(why,))
