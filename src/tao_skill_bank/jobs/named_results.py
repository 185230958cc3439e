"""Where the results are that a word names: a job by its id, a folder, or a file."""

from pathlib import Path

from tao_skill_bank.core import locations
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.jobs.store import JobStore, is_valid_id


def find(name: str) -> Path:
    """Return the run directory of a job, whose state is asked so that remote results are here; else the path itself.

    Raises:
        UnknownNameError: it is neither a job nor an existing path.

    """
    path = locations.absolute(name)
    if not is_valid_id(name):
        return path
    try:
        JobStore().read(name)
    except UnknownNameError:
        if path.exists():
            return path
        raise
    handle = JobHandle(name)
    handle.status()
    return handle.run_directory.path
