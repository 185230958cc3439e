"""What was reviewed is what runs: the config that a launch sends holds the values of the plan's spec."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tao_skill_bank.contracts import Job, Plan
from tao_skill_bank.core import nested, yaml12
from tao_skill_bank.core.redact import redacted
from tao_skill_bank.errors import ConflictError, Problem
from tao_skill_bank.spec import config_files
from tao_skill_bank.spec.config_files import Change
from tao_skill_bank.staging import places
from tao_skill_bank.weights import model_uri


def require_same_config(plan: Plan) -> None:
    """Parse every rendered config of a plan, and compare it with the spec that the plan shows.

    Raises:
        ConflictError: values differ; every one with its file and key.

    """
    problems = [*_against_spec(plan.job), *_against_config(plan), *_in_manifests(plan)]
    if problems:
        raise ConflictError(problems)


def _against_config(plan: Plan) -> Iterator[Problem]:
    """Yield what rendered files do not hold as the config has it; a file for restarts may differ in the key for it."""
    job = plan.job
    expected = PurePosixPath(job.config_file)
    names = [name for name in plan.files if _is_config(PurePosixPath(name), expected)]
    for name in dict.fromkeys((job.config_file, *names)):
        config = job.config
        if name != job.config_file and job.resume_key is not None:
            config = nested.with_value(config, job.resume_key, True)
        for change in config_files.differences(name, plan.files.get(name, ""), config):
            yield _problem(f"{name} of job {job.id}", change)


def _in_manifests(plan: Plan) -> Iterator[Problem]:
    """Yield the manifests that hold another text of a config than its file; a cluster reads the one in the manifest."""
    texts = {PurePosixPath(name).name: text for name, text in plan.files.items() if name == plan.job.config_file}
    manifests = [name for name in plan.files if name.endswith(".yaml") and name != plan.job.config_file]
    for name in manifests:
        for key, held in _texts(yaml12.parse_all(plan.files[name], name)):
            if key in texts and held != texts[key]:
                message = f"{name} of job {plan.job.id} holds another {key} than {plan.job.config_file}."
                fix = "Plan the request again: tao-skills plan ... --out FILE"
                yield Problem("config_differs", message, fix, name)


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        if isinstance(child, str):
            yield str(key), child
        else:
            yield from _texts(child)


def _is_config(name: PurePosixPath, expected: PurePosixPath) -> bool:
    return name.parent == expected.parent and name.suffix == expected.suffix


def _against_spec(job: Job) -> Iterator[Problem]:
    """Yield what the config does not hold as the spec has it; only names of models and inputs may be replaced."""
    staged = [(uri.partition(places.NAMED_IN)[0], path) for uri, path in job.fetches]
    for change in config_files.changes(job.config, nested.without_nulls(job.spec)):
        if (change.expected, change.found) not in staged and not _is_local_name(change.expected, change.found):
            yield _problem(f"The config of job {job.id}", change)


def _is_local_name(name: Any, local: Any) -> bool:
    """Return whether a path stands for the model of a name: its folder here, or its id on the hub."""
    if not isinstance(name, str):
        return False
    return local in (str(Path(name)), str(model_uri.local_folder(name)), name.removeprefix(model_uri.HUB))


def _problem(source: str, change: Change) -> Problem:
    what = f"{change.key} is {change}" if change.key else str(change)
    message = f"{source} does not hold what the plan shows: {redacted(what)}."
    fix = "Plan the request again: tao-skills plan ... --out FILE"
    fix += f"; if that does not help, give {change.key} another value." if change.key else "."
    return Problem("config_differs", message, fix, change.key)
