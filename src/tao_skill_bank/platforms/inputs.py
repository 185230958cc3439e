"""The local paths that a job reads, as its skill names them: what a container has to be given."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Job
from tao_skill_bank.core import nested

OUTPUT = "output"  # in the name of a key: written, not read


def paths(job: Job) -> list[str]:
    """Return the files and folders outside the run directory that a job reads, without those that lie in another one.

    What is fetched first is not among them: it lies below the state directory.
    """
    results, fetched = Path(job.results_dir), {folder for _, folder in job.fetches}
    named = {Path(value) for value in _values(job) if value not in fetched}
    outside = {path for path in named if path.is_absolute() and not path.is_relative_to(results)}
    return sorted(str(path) for path in outside if not any(parent in outside for parent in path.parents))


def _values(job: Job) -> Iterator[str]:
    """Yield every text that names an input. Media may be URLs."""
    skill = catalog.find(job.skill)
    inputs = skill.action(job.action).inputs
    sources = skill.info.data_sources.get(job.action, {})
    keys = [*(key for source in sources.values() for key in source.keys), *inputs.models, *inputs.media, *inputs.paths]
    values: list[Any] = [nested.get(job.config, key) for key in keys if OUTPUT not in key]
    for key, name in inputs.listed.items():
        entries = nested.get(job.config, key) or []
        values += [entry.get(name) for entry in entries if isinstance(entry, dict)]
    values += [path for use in job.workload.datasets for path in (use.annotation_path, use.media_path)]
    yield from (value for value in values if isinstance(value, str) and "://" not in value)
