"""The local paths that a job reads, which a container has to mount."""

from collections.abc import Iterator
from pathlib import Path

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Job
from tao_skill_bank.core import nested


def paths(job: Job) -> list[str]:
    """Return the files and folders outside the run directory that a job reads, without those inside another one.

    What is fetched first is not among them: it lies below the state directory.
    """
    results, fetched = Path(job.results_dir), {folder for _, folder in job.fetches}
    named = {Path(value) for value in _values(job) if value not in fetched}
    outside = {path for path in named if path.is_absolute() and not path.is_relative_to(results)}
    return sorted(str(path) for path in outside if not any(parent in outside for parent in path.parents))


def _values(job: Job) -> Iterator[str]:
    """Yield every path that names an input, and the folders that checkpoints have on this machine."""
    models = catalog.find(job.skill).action(job.action).inputs.models
    values = [*(nested.get(job.config, key) for key in models), *job.workload.paths]
    yield from (value for value in values if isinstance(value, str) and "://" not in value)
