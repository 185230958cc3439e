"""The overrides that resolve a finding: of a training's arithmetic by the keys of its skill, else by its model.

A model says in `repairs.py` which of its parameters resolve which finding: `CHOICES` holds, by code, a function of the
spec and the finding's evidence that returns the ways to resolve it. A single one is the fix; of several the user
chooses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from tao_skill_bank.bank import catalog, model_hooks
from tao_skill_bank.bank.skill_info import AutomlKeys
from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.core import nested
from tao_skill_bank.preflight.model.inspection import sibling_module

Evidence = Mapping[str, Any]
Ways = Sequence[dict[str, Any]]


def with_overrides(job: Job, findings: Sequence[Finding]) -> list[Finding]:
    """Return findings with the overrides that resolve them, where they have none yet and some do."""
    return [_with_overrides(job, found, findings) for found in findings]


def _with_overrides(job: Job, found: Finding, findings: Sequence[Finding]) -> Finding:
    if found.severity not in ("blocking", "warning") or found.fix_set or found.fix_choices:
        return found
    ways = _ways(job, found.code, _least([other.evidence for other in findings if other.code == found.code]))
    if len(ways) == 1:
        return replace(found, fix_set=ways[0])
    return replace(found, fix_choices=tuple(ways))


def _least(evidences: Sequence[Evidence]) -> dict[str, Any]:
    """Return what holds for several findings of a code: of each number the smallest, so that one fix resolves all."""
    least: dict[str, Any] = {}
    for evidence in evidences:
        for name, value in evidence.items():
            is_number = isinstance(value, (int, float)) and isinstance(least.get(name, value), (int, float))
            least[name] = min(least.get(name, value), value) if is_number else value
    return least


def _ways(job: Job, code: str, evidence: Evidence) -> Ways:
    module = sibling_module(job, "repairs")
    choices: Mapping[str, Any] = import_module(module).CHOICES if module else {}
    if code in choices:
        failure = f"{module} cannot repair '{code}'"
        ways: Ways = model_hooks.call(failure, lambda: choices[code](job.spec, evidence))
        return ways
    keys = catalog.find(job.skill).info.automl
    own = OWN.get(code)
    return own(job, keys, evidence) if own and keys and job.workload.trains else ()


def _batch(job: Job, keys: AutomlKeys, evidence: Evidence) -> Ways:
    """Return the largest batch per rank that the records make: a multiple of the micro-batch, which shrinks last."""
    per_rank, largest = evidence["per_rank"], evidence["largest_batch"]
    if not per_rank:
        return ()  # more ranks than records
    if keys.accumulation:
        size = nested.get(job.spec, keys.batch) if largest else per_rank
        return ({keys.batch: size, keys.accumulation: max(1, largest // size)},)
    micro = {keys.micro_batch: per_rank} if keys.micro_batch and not largest else {}
    return ({keys.batch: largest or per_rank, **micro},)


def _fewer_epochs(job: Job, keys: AutomlKeys, evidence: Evidence) -> Ways:
    return (_epochs(job, keys, evidence["most_epochs"]),)


def _more_steps(job: Job, keys: AutomlKeys, evidence: Evidence) -> Ways:
    """Return more epochs, and a smaller batch where a smaller one suffices."""
    steps, threshold, epochs = evidence["steps"], evidence["threshold"], job.workload.epochs or 1
    if keys.steps and job.workload.max_steps is not None:
        return ({keys.steps: threshold},)
    longer = _epochs(job, keys, -(-threshold * epochs // steps))
    per_epoch, micro = steps // epochs, job.workload.micro_batch or 1
    wanted = -(-threshold // epochs)
    smaller = (job.workload.batch_per_rank or 0) * per_epoch // wanted // micro * micro
    if not smaller:
        return (longer,)
    batch = {keys.accumulation: smaller // micro} if keys.accumulation else {keys.batch: smaller}
    return (longer, batch)


def _epochs(job: Job, keys: AutomlKeys, epochs: int) -> dict[str, Any]:
    """Return the overrides that end a training after some epochs; a schedule that spans more stays as it is."""
    if keys.stop and nested.get(job.spec, keys.stop) is not None:
        scheduled = nested.get(job.spec, keys.epochs)
        return {keys.stop: epochs} | ({keys.epochs: epochs} if scheduled < epochs else {})
    return {keys.epochs: epochs}


OWN: Mapping[str, Callable[[Job, AutomlKeys, Evidence], Ways]] = {
    "batch_exceeds_records": _batch,
    "too_many_steps": _fewer_epochs,
    "few_steps": _more_steps,
}
