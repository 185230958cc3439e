"""The command lines that messages of this room name."""

import shlex
from pathlib import Path


def resume(folder: Path) -> str:
    """Return the command that resumes a run."""
    return _line("workflow", "resume", folder)


def status(folder: Path) -> str:
    """Return the command that shows how far a run is."""
    return _line("workflow", "status", folder)


def report(folder: Path) -> str:
    """Return the command that writes the page of a run."""
    return _line("workflow", "report", folder)


def diagnose(job_id: str) -> str:
    """Return the command that explains why a job failed."""
    return _line("diagnose", job_id)


def _line(*words: object) -> str:
    return shlex.join(["tao-skills", *(str(word) for word in words)])
