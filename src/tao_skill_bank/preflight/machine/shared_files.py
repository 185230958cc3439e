"""Warns of what a job on other machines uses and what lies on a disk that, as far as is known, only this one has."""

from collections.abc import Iterator
from pathlib import Path

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.core import locations, settings
from tao_skill_bank.core.findings import listed, warning
from tao_skill_bank.platforms import file_systems
from tao_skill_bank.platforms.base import Platform
from tao_skill_bank.platforms.file_systems import Mounted

EXCEPT = "Disregard this where the job's machines mount that disk too, or are this machine."


def check(job: Job, platform: Platform) -> list[Finding]:
    """Return the warnings; what the platform itself knows to be out of reach is in its probe."""
    return list(_findings(job, platform))


def _findings(job: Job, platform: Platform) -> Iterator[Finding]:
    options = job.platform.options
    if _is_visible(job.results_dir) and (disk := _own(job.results_dir, job, platform)):
        message = (
            f"Results folder {job.results_dir} {_lies_on(disk, job)}: it cannot write there, or nothing of it is "
            "seen here."
        )
        fix = "Choose a folder on the file system that they share: --results-dir FOLDER."
        yield _warning("results_not_shared", message, fix, "results_dir", disk)
    state = str(settings.state_dir())
    if _is_fetched_into(state, job) and (disk := _own(state, job, platform)):
        message = f"The job keeps what it fetches in the state folder, {state}, which {_lies_on(disk, job)}"
        message += ": one node fetches a model, and the others do not find it." if job.resources.nodes > 1 else "."
        fix = "Plan with a state folder on the file system that they share: export TAO_STATE_DIR=FOLDER."
        yield _warning("state_not_shared", message, fix, "TAO_STATE_DIR", disk)
    python = platform.interpreter(options)
    if python and _is_file_here(python) and (disk := _own(python, job, platform)):
        message = f"The job starts with {python}, which {_lies_on(disk, job)}."
        fix = "Name an interpreter that they have, with this package: --option python=PATH."
        yield _warning("python_not_shared", message, fix, "platform.options.python", disk)
    yield from _of_data(job, platform)


def _of_data(job: Job, platform: Platform) -> Iterator[Finding]:
    here = [path for path in job.workload.paths if _is_file_here(path)]
    disks = {path: disk for path in here if (disk := _own(path, job, platform))}
    if disks:
        path, disk = next(iter(disks.items()))
        message = f"{listed(list(disks))}: what the job reads {_lies_on(disk, job)}."
        fix = "Copy it to the file system that they share, and name it there; or name an object store (s3://, gs://)."
        yield _warning("inputs_not_shared", message, fix, path, disk)


def _own(path: str, job: Job, platform: Platform) -> Mounted | None:
    """Return the disk of this machine that holds a path which the platform may share."""
    return file_systems.own(path) if platform.shares(path, job.platform.options) is None else None


def _is_file_here(path: str) -> bool:
    return Path(path).is_absolute() and locations.is_here(path)


def _is_visible(results_dir: str) -> bool:
    """Whether more of the folder's path than the root is here; otherwise another check says so."""
    return locations.nearest_existing(Path(results_dir)) != Path("/")


def _is_fetched_into(state: str, job: Job) -> bool:
    return any(Path(folder).is_relative_to(state) for _, folder in job.fetches)


def _lies_on(disk: Mounted, job: Job) -> str:
    return f"lies on a disk of this machine ({disk}), and platform {job.platform.name} runs the job on others"


def _warning(code: str, message: str, fix: str, path: str, disk: Mounted) -> Finding:
    return warning(code, message, f"{fix} {EXCEPT}", path, file_system=disk.type, mounted_at=disk.place)
