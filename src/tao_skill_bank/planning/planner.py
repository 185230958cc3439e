"""Resolved request -> Job -> sealed Plan. Pure, except for the job id."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, cast

from tao_skill_bank.bank import model_hooks
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import (
    Credential,
    Finding,
    Job,
    Launch,
    MonitoringMetric,
    Plan,
    Request,
    Resources,
    Route,
    Workload,
    from_json,
    to_json,
)
from tao_skill_bank.core import locations, nested
from tao_skill_bank.core.redact import masked
from tao_skill_bank.data import kinds
from tao_skill_bank.errors import BlockedError, ConflictError, RequestError
from tao_skill_bank.planning import request_command
from tao_skill_bank.planning.parents import Inheritance
from tao_skill_bank.runs import plan_versions
from tao_skill_bank.spec import config_files, remote_inputs
from tao_skill_bank.spec.build import Spec
from tao_skill_bank.staging import places
from tao_skill_bank.weights import model_uri

DEVICES = ("cpu", "cuda")


def assemble(skill: Skill, request: Request, spec: Spec, parent: Inheritance, job_id: str, *, one_machine: bool) -> Job:
    """Return the job of a valid spec; on a single-machine platform, nodes become processes.

    Raises:
        RequestError: `platform.options.device` is not a device, or the run directory is given twice.
        BlockedError: the model names an input that no kind understands.
    """
    action = skill.action(request.action)
    named = _results_dir(spec, request, action.results_keys) or str(locations.absolute(Path("results", job_id)))
    results_uri = named if places.is_remote(named) else None
    results_dir = places.scratch_folder(results_uri) if results_uri else named
    values = spec.values
    for path in action.results_keys:
        values = nested.with_value(values, path, results_dir)
    workload = _workload(skill, request.action, values)
    kinds.require(workload.inputs, action.module.rpartition(".")[0])
    uris = [uri for path in action.inputs.models if isinstance(uri := nested.get(values, path), str) and uri]
    staged = remote_inputs.place(skill, request.action, values, workload, results_dir)
    config = staged.values
    for path in action.inputs.models:
        if uri := nested.get(config, path):
            config = nested.with_value(config, path, str(model_uri.local_folder(uri)))
    remote = [*(uri for uri, _ in staged.fetches), *([results_uri] if results_uri else [])]
    resources = _resources(skill, request, values, uris, parent)
    if one_machine and request.platform.nodes is None:  # replicas share the machine
        resources = replace(resources, nodes=1, processes_per_node=resources.world_size)
    return Job(
        id=job_id,
        skill=skill.name,
        action=request.action,
        network_arch=skill.info.network_arch,
        skill_dir=str(skill.folder),
        module=action.module,
        spec=values,
        config=nested.without_nulls(config),
        config_file=f"config/{request.action}.{action.config_format}",
        results_dir=results_dir,
        results_uri=results_uri,
        resources=resources,
        workload=workload,
        platform=request.platform,
        fetches=(*model_uri.fetches(uris), *staged.fetches),
        credentials=remote_inputs.with_credentials(_credentials(skill, workload), remote),
        parent_job_id=request.parent_job_id,
        image=request.image,
        upload_excludes=action.upload_excludes,
        dataset_required_fields=skill.info.dataset_contract.required_fields,
        distributed=action.resources.distributed,
        metric=_metric(skill, request.action, workload),
        resume_key=_resume_key(skill, request.action) if workload.trains else None,
    )


def draft(job: Job, request: Request, route: Route, findings: Sequence[Finding]) -> Plan:
    """Return the plan before the platform renders its launch."""
    request = replace(request, skill=job.skill)
    findings = [_masked(finding) for finding in findings]
    files = {job.config_file: config_files.text(job.config_file, job.config)}
    return Plan(job=job, request=request, route=route, findings=tuple(findings), files=files, argv=())


def noting(plan: Plan, *findings: Finding) -> Plan:
    """Return the plan with further findings."""
    return replace(plan, findings=(*plan.findings, *map(_masked, findings)))


def _masked(finding: Finding) -> Finding:
    """Return a finding without secrets: some quote what data, adapters and servers say."""
    document = to_json(finding)
    safe = masked(document)
    return finding if safe == document else from_json(Finding, safe, "finding")


def seal(plan: Plan, launch: Launch) -> Plan:
    """Return the plan with exactly what the platform will send, and the hash over all of it."""
    complete = replace(plan, files={**plan.files, **launch.files}, argv=launch.argv, sha256="")
    return replace(complete, sha256=digest(complete))


def digest(plan: Plan) -> str:
    """Return the sha256 of every field of a plan but the hash itself."""
    return plan_versions.digest(to_json(plan))


def read(path: Path) -> Plan:
    """Read a sealed plan that is to be run.

    Raises:
        RequestError: the file is not a plan.
        ConflictError: the plan is of another version, or was edited after it was sealed.
    """
    document = plan_versions.read_document(path)
    if isinstance(document.get("request"), dict):
        _require_current(document, path)
    plan = from_json(Plan, document, str(path))
    verify(plan, str(path))
    return plan


def verify(plan: Plan, source: str = "The plan") -> None:
    """Refuse a plan whose content is not what was sealed.

    Raises:
        RequestError: a number in it is not finite.
        ConflictError: it was edited after it was sealed.

    """
    plan_versions.require_finite(asdict(plan), source)
    plan_versions.require_intact(to_json(plan), source)


def _require_current(document: Mapping[str, Any], path: Path) -> None:
    """Refuse a plan that another release sealed, with the command that plans its request again."""
    version = document.get("schema_version")
    if version == plan_versions.CURRENT:
        return
    found = "no schema_version" if version is None else f"schema_version {json.dumps(version)}"
    message = f"{path} was sealed by another release: it has {found}, and this release runs {plan_versions.CURRENT}."
    fix = f"Plan the request again: {request_command.plan_again(document, path)}"
    raise ConflictError.of("plan_version", message, fix, path=str(path), got=version, expected=plan_versions.CURRENT)


def _results_dir(spec: Spec, request: Request, keys: Sequence[str]) -> str | None:
    """Return the one run directory that the request names, by its own field or by spec keys."""
    named = {"results_dir": request.results_dir} if request.results_dir else {}
    named |= {path: nested.get(spec.values, path) for path in keys if path in spec.given}
    folders = {_folder(name) for name in named.values() if name}
    if len(folders) > 1:
        message = f"The run directory is given more than once, with different values: {', '.join(sorted(folders))}."
        raise RequestError.of("given_twice", message, f"Keep one of: {', '.join(named)}.", path="results_dir")
    return folders.pop() if folders else None


def _folder(name: str) -> str:
    """Return a run directory made absolute, or a URI in an object store. Raises RequestError for any other URI."""
    if "://" not in name:
        return str(locations.absolute(name))
    wrong = "its scheme is not one of s3, gs"
    if places.scheme(name) in ("s3", "gs") and not (wrong := places.problem_of(name) or ""):
        return name.rstrip("/")
    message = f"Results cannot be written to {name}: {wrong}."
    fix = "Use a local folder, s3://BUCKET/PATH or gs://BUCKET/PATH."
    raise RequestError.of("invalid_place", message, fix, path="results_dir", got=name)


def _metric(skill: Skill, action: str, workload: Workload) -> MonitoringMetric | None:
    """Return the metric of a training, or of the evaluation that scores checkpoints of a search."""
    if workload.trains:
        return skill.info.monitoring_metric
    evaluation = skill.info.automl.evaluation if skill.info.automl else None
    if evaluation is None or evaluation.action != action:
        return None
    return MonitoringMetric(evaluation.metric, evaluation.direction)


def _workload(skill: Skill, action: str, values: dict[str, Any]) -> Workload:
    """Return what the model says of a spec. Raises BlockedError where its `describe` fails or returns anything else."""
    module = model_hooks.load(skill.info.package, "workload")
    describe = cast(Callable[[str, dict[str, Any]], Any], model_hooks.attribute(module, "describe"))
    workload = model_hooks.call(f"describe of {module.__file__} fails", lambda: describe(action, values))
    if not isinstance(workload, Workload):
        message = f"{module.__file__}: describe returns a {type(workload).__name__}, not a Workload."
        raise BlockedError.of("model_hook_failed", message, model_hooks.FIX, path=str(module.__file__))
    return workload


def _credentials(skill: Skill, workload: Workload) -> tuple[Credential, ...]:
    """Return the skill's credentials, and those of the servers that a spec names."""
    known = {credential.name: credential for credential in skill.info.credentials}
    named = (recipient.key_variable for recipient in workload.recipients if recipient.key_variable)
    return tuple({**{name: Credential(name, required=False) for name in named}, **known}.values())


def _resume_key(skill: Skill, action: str) -> str | None:
    automl = skill.info.automl
    return skill.action(action).parent.resume or (automl.resume if automl else None)


def _resources(
    skill: Skill,
    request: Request,
    values: Mapping[str, Any],
    uris: Sequence[str],
    parent: Inheritance,
) -> Resources:
    keys = skill.action(request.action).resources
    gpus = nested.get(values, keys.gpu_spec_key) if keys.gpu_spec_key else request.platform.gpus
    nodes = nested.get(values, keys.node_spec_key) if keys.node_spec_key else request.platform.nodes
    count, nodes = (gpus or 1, nodes or 1) if keys.distributed else (1, 1)
    return Resources(nodes=nodes, processes_per_node=count, device=_device(skill, request, uris, parent))


def _device(skill: Skill, request: Request, uris: Sequence[str], parent: Inheritance) -> Literal["cpu", "cuda"]:
    """Return where the action computes: as named; else on the CPU where it may and nothing there needs a GPU.

    Raises:
        RequestError: the name is not a device, or the action cannot run on a CPU.

    """
    may_use_cpu = skill.action(request.action).may_use_cpu
    named = request.platform.options.get("device")
    if named is not None:
        if named not in DEVICES:
            message = f"platform.options.device is '{named}'; expected one of {', '.join(DEVICES)}."
            fix = "Set platform.options.device to cpu or cuda."
            raise RequestError.of("invalid_device", message, fix, path="platform.options.device", got=named)
        if named == "cpu" and not may_use_cpu:
            message = f"{skill.name} {request.action} cannot run on a CPU: its skill does not permit it."
            fix = "Leave platform.options.device out, or set it to cuda."
            fix += f" If it can, set resources.cpu: true of the action in {skill.info_path}."
            raise RequestError.of("device_not_permitted", message, fix, path="platform.options.device", got=named)
        return cast(Literal["cpu", "cuda"], named)
    if not may_use_cpu:
        return "cuda"
    if not uris or any(model_uri.is_embedded(uri) for uri in uris):
        return "cpu"  # an action that loads no model needs no GPU, and an embedded one is made for CPUs
    return parent.device or "cuda"
