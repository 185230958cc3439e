"""`--base`: the same measurement of the model that a parent job's checkpoint was trained from.

Of a parent that ran the same action, everything is taken over but the checkpoint, so that the two results differ by the
model alone; of any other parent, what a child takes over anyway. A request that changes the data or the settings is
compared with the parent: records that the parent measured must be there, and other settings are named.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import Finding, Input, Job, Plan, Request, Workload
from tao_skill_bank.core import nested, subset
from tao_skill_bank.core.findings import blocking, listed, not_checked
from tao_skill_bank.data.annotations import load_records
from tao_skill_bank.data.records.reader import record_name
from tao_skill_bank.errors import RequestError, TaoSkillsError
from tao_skill_bank.planning import parent_plans

KIND = "annotations"  # whose records have ids to compare
FLAG = "base"


def require_named(request: Request) -> None:
    """Refuse `base` without a parent, or with one of its checkpoints. Raises RequestError."""
    if request.base and request.parent_job_id is None:
        fix = "Name the job whose base is measured: --parent JOB, or leave --base out."
        raise RequestError.of("base_without_parent", "--base measures the base of a parent job.", fix, path=FLAG)
    if request.base and request.checkpoint:
        message = f"--base measures the base model, and --checkpoint {request.checkpoint} one that was trained from it."
        raise RequestError.of("base_and_checkpoint", message, "Leave one of the two out.", path=FLAG)


def inherit(skill: Skill, request: Request, parent: Plan, copies: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec values of a measurement of the parent's base.

    Args:
        skill: the skill of both.
        request: with `base`.
        parent: the plan of the parent job.
        copies: what any child takes over from it.

    Raises:
        RequestError: the action takes no checkpoint of a parent, or the parent's base is not known.

    """
    keys = skill.action(request.action).parent
    if not keys.checkpoint or keys.resume:
        able = [name for name, each in skill.info.actions.items() if each.parent.checkpoint and not each.parent.resume]
        message = f"{skill.name} {request.action} measures no checkpoint of its parent, so it has no base to measure."
        fix = f"Leave --base out; it is for {', '.join(able)}."
        raise RequestError.of("no_base", message, fix, path=FLAG, got=request.action)
    values = _settings(skill, parent) if parent.job.action == request.action else dict(copies)
    values[keys.checkpoint] = _base_of(skill, parent)
    if keys.adapter and keys.base:
        values |= {keys.adapter: False, keys.base: ""}
    return values


def findings(skill: Skill, request: Request, job: Job, inherited: Mapping[str, Any]) -> list[Finding]:
    """Return how a measurement of the base differs from its parent's; nothing for any other job."""
    if not request.base or request.parent_job_id is None:
        return []
    parent, _ = parent_plans.find(skill.name, request.parent_job_id)
    found = list(_other_settings(skill, request, job, inherited))
    if parent.job.action != request.action:
        return found
    return [*found, *_records(parent.job.workload, job.workload, parent.job.id)]


def _settings(skill: Skill, parent: Plan) -> dict[str, Any]:
    """Return every parameter of the parent's spec, None for one that it lacks."""
    action = skill.action(parent.job.action)
    leaves = (path for path, _ in schemas.leaves(skill.schema(parent.job.action)))
    return {path: nested.get(parent.job.spec, path) for path in leaves if path not in action.results_keys}


def _base_of(skill: Skill, plan: Plan) -> str:
    """Return the model that a training started from, or that an adapter belongs to; else that of the job's parent."""
    workload = plan.job.workload
    if workload.trains:
        return workload.model
    if workload.base_model:
        return workload.base_model
    if plan.job.parent_job_id is not None:
        return _base_of(skill, parent_plans.find(skill.name, plan.job.parent_job_id)[0])
    message = f"The base of {workload.model} is not known: job {plan.job.id} names no training that it came from."
    fix = "Name the training: --parent TRAINING. Or leave --base out and name the base itself: "
    fix += "--set model_name_or_path=BASE"
    raise RequestError.of("base_unknown", message, fix, path=FLAG, got=workload.model)


def _other_settings(skill: Skill, request: Request, job: Job, inherited: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the parameters that the request sets otherwise than the parent did: they may change the result, too."""
    action = skill.action(request.action)
    keys = action.parent
    data = {key for source in skill.info.data_sources.get(request.action, {}).values() for key in source.keys}
    counts = {action.resources.gpu_spec_key, action.resources.node_spec_key}
    ours = {keys.checkpoint, keys.adapter, keys.base, *data, *counts}
    changed = {
        path: value for path, value in inherited.items() if path not in ours and nested.get(job.spec, path) != value
    }
    if changed:
        names = ", ".join(sorted(changed))
        message = (
            f"{names} differ from those of job {request.parent_job_id}: the results differ by more than the model."
        )
        fix = "Leave them out of the request, or set them as the parent did."
        yield Finding("base_settings_differ", "warning", message, fix, min(changed), fix_set=changed)


def _records(parent: Workload, child: Workload, parent_id: str) -> Iterator[Finding]:
    """Yield which records of the parent the measurement of its base would lack."""
    before, now = _annotated(parent), _annotated(child)
    if before is None or now is None or (before.paths, parent.limit) == (now.paths, child.limit):
        return
    path = now.paths["annotation_path"]
    try:
        measured, here = _taken(before, parent), _taken(now, child)
    except TaoSkillsError as error:
        message = f"The records of {path} were not compared with those of job {parent_id}: {error}"
        yield not_checked("base_records_not_compared", message, "Leave --eval out to measure the same data.", path)
        return
    lacking = [name for name in measured if name not in set(here)]
    if lacking:
        message = (
            f"{len(lacking)} of the {len(measured)} records that job {parent_id} measured are not among those of "
            f"{path}: {listed(lacking)}. The two could not be compared on them."
        )
        fix = f"Leave --eval and the limit out: the base is then measured on the data of job {parent_id}."
        yield blocking("base_lacks_records", message, fix, path, lacking=len(lacking), measured=len(measured))


def _annotated(workload: Workload) -> Input | None:
    return next((given for given in workload.inputs if given.kind == KIND), None)


def _taken(given: Input, workload: Workload) -> list[str]:
    records = load_records(Path(given.paths["annotation_path"]))
    names = [record_name(record, index) for index, record in enumerate(records)]
    limit = workload.limit
    return [names[at] for at in subset.chosen(names, limit.count)] if limit else names
