"""Checks that the file system of the run directory has locks, which keep a second writer out."""

from pathlib import Path

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.core import file_locks, locations
from tao_skill_bank.core.findings import warning

FIX = "Start nothing else in this folder while the job runs, or choose a results_dir on a file system with locks."


def check(job: Job) -> list[Finding]:
    """Return the finding of a file system without locks; nothing where that does not show from here."""
    if locations.is_uri(job.results_dir):
        return []
    parent = locations.nearest_existing(Path(job.results_dir))
    if not parent.is_dir() or file_locks.has_locks(parent):
        return []
    message = (
        f"The file system of {parent} has no file locks: a second writer of {job.results_dir} would be noticed by "
    )
    message += "its processes and files only."
    return [warning("no_file_locks", message, FIX, job.results_dir)]
