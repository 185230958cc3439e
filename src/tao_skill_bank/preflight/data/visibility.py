"""What a job on other machines reads and this one does not see: its absence here proves nothing.

The job itself looks for all of it before it loads a weight (`training/required_inputs`).
"""

import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Finding, Input, Job
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import listed, warning
from tao_skill_bank.data.kinds import Found, Kind
from tao_skill_bank.platforms.base import Platform

CODE = "not_visible_here"


def hidden(job: Job, platform: Platform) -> frozenset[str]:
    """Return the paths that a job reads and this machine does not have, where the job's machines may have them."""
    return frozenset(
        path
        for paths in _named(job).values()
        for path in paths
        if not locations.is_here(path) and platform.shares(path, job.platform.options) is not True
    )


def check(job: Job, platform: Platform, hidden: frozenset[str]) -> list[Finding]:
    """Return a warning for each role of which a part is not visible here.

    The platform's probe reports the paths that no machine of the job can see.
    """
    found = []
    for role, paths in _named(job).items():
        may_be_there = [path for path in paths if platform.shares(path, job.platform.options) is None]
        if absent := [path for path in may_be_there if path in hidden]:
            found.append(_warning(role, absent, job))
    return found


def unseen(given: Input, kind: Kind, hidden: frozenset[str], job: Job) -> Found | None:
    """Return an input that cannot be looked at from here; None where all is here but for media that its index names."""
    leading = [_normal(path) for name, path in given.paths.items() if not kind.paths[name].named_in]
    if not hidden.intersection(leading):
        return None
    return Unseen(given, failure=_warning(given.role, list(given.paths.values()), job))


class Unseen(Found):
    """An input of which nothing was seen; `check` reports it."""


def conclusive(findings: Iterable[Finding], hidden: frozenset[str]) -> list[Finding]:
    """Return the findings without those that block because a path which is not visible here is not here."""
    return [found for found in findings if found.severity != "blocking" or _normal(found.path) not in hidden]


def _named(job: Job) -> dict[str, list[str]]:
    """Return the absolute local paths that a job reads, by their role."""
    named = job.workload.paths_by_role
    if job.workload.resume and not job.workload.resume_from:
        named["run directory to resume"] = [job.results_dir]
    local = {role: [_normal(path) for path in paths if Path(path).is_absolute()] for role, paths in named.items()}
    return {role: list(dict.fromkeys(paths)) for role, paths in local.items() if paths}


def _warning(role: str, paths: list[str], job: Job) -> Finding:
    verb = "are" if len(paths) > 1 else "is"
    message = (
        f"{listed(paths)} ({role}) {verb} not visible from here: platform {job.platform.name} runs the job on other "
        "machines. The job looks for it there before it loads a weight."
    )
    return warning(CODE, message, " ".join(_advice(paths)), paths[0], role=role, paths=paths)


def _advice(paths: Iterable[str]) -> Iterator[str]:
    """Yield what may be wrong with each path, as far as this machine can say."""
    for path in map(Path, paths):
        if path.parent.is_dir():
            near = catalog.did_you_mean(path.name, _names(path.parent))
            yield f"{path.parent} is here, and holds no {path.name}.{near} Correct it if the job sees this folder."
        else:
            yield f"Check the path on the job's machines: ls {shlex.quote(str(path))}"


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def _normal(path: str) -> str:
    return os.path.normpath(path) if path else path
