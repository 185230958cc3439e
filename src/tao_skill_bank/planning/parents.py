"""What a child job inherits from its parent: a checkpoint, its adapter's base, a state to resume from."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import Plan, Request
from tao_skill_bank.core import nested
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.planning import base_models, parent_plans
from tao_skill_bank.runs import checkpoint_folders
from tao_skill_bank.runs.run_directory import read_json_file
from tao_skill_bank.weights import model_folders

WITHOUT_EPOCH = ("merged", "quantized")  # checkpoints of export and quantize


@dataclass(frozen=True)
class Inheritance:
    """Spec values by dotted path, and the device that the parent ran on."""

    values: dict[str, Any] = field(default_factory=dict)
    device: Literal["cpu", "cuda"] | None = None


def inherit(skill: Skill, request: Request) -> Inheritance:
    """Return what `request.parent_job_id` contributes, if anything. A search is represented by its best trial.

    Raises:
        UnknownNameError: no such job, no complete or no such checkpoint in it, or a search without a best trial
            yet.
        RequestError: the job belongs to another skill, or its base cannot be measured.
        ConflictError: its run directory does not hold the plan that it was launched with.
    """
    base_models.require_named(request)
    if request.parent_job_id is None:
        return Inheritance()
    parent, run = parent_plans.find(skill.name, request.parent_job_id)
    if request.base:
        values = base_models.inherit(skill, request, parent, _copies(skill, request.action, parent))
        return Inheritance(values, parent.job.resources.device)
    keys = skill.action(request.action).parent
    values = {}
    if keys.resume and (parent.job.workload.trains or not keys.checkpoint):
        values[keys.resume] = str(_select(run, "checkpoints", request))
    elif keys.checkpoint:
        folder = _select(run, "safetensors", request)
        values[keys.checkpoint] = str(folder)
        if (folder / "adapter_config.json").is_file() and keys.adapter and keys.base:
            values[keys.adapter] = True
            values[keys.base] = parent.job.workload.base_model or parent.job.workload.model
    if keys.run:
        values[keys.run] = str(run)
    if keys.adapters and parent.job.workload.trains:
        values[keys.adapters] = [{"path": str(_select(run, "safetensors", request)), "name": "tuned"}]
    values |= _copies(skill, request.action, parent)
    return Inheritance(values, parent.job.resources.device)


def _copies(skill: Skill, action: str, parent: Plan) -> dict[str, Any]:
    """Return the values copied from a training's spec, directly or through a job that copied them."""
    wanted = skill.action(action).parent.copies
    if parent.job.workload.trains:
        return {here: nested.get(parent.job.spec, there) for here, there in wanted.items()}
    held = skill.action(parent.job.action).parent.copies
    return {
        here: nested.get(parent.job.spec, own + there.removeprefix(source))
        for here, there in wanted.items()
        for own, source in held.items()
        if f"{there}.".startswith(f"{source}.")
    }


def _select(run: Path, kind: str, request: Request) -> Path:
    """Return the named checkpoint, else `best/`, else the newest complete epoch."""
    complete = {folder.name: folder for folder in checkpoint_folders.all_in(run / kind) if _is_complete(folder)}
    if kind == "safetensors":
        complete |= {name: run / kind / name for name in WITHOUT_EPOCH if _is_complete(run / kind / name)}
    if request.checkpoint:
        if request.checkpoint in complete:
            return complete[request.checkpoint]
        wanted = f"checkpoint '{request.checkpoint}'"
    else:
        best = run / "best"
        if kind == "safetensors" and _is_complete(best):
            return best.resolve()
        if complete:
            return max(complete.values(), key=checkpoint_folders.position)
        wanted = "complete checkpoint"
    noted = read_json_file(run / checkpoint_folders.REMOVED_FILE)
    if isinstance(noted, dict) and not complete:
        message = f"Job {request.parent_job_id} has no checkpoint any more. {noted.get('reason', '')}".rstrip()
        fix = "Name the search itself, which gives its best trial; automl.keep_trials=all keeps every trial's."
        raise UnknownNameError.of("checkpoint_removed", message, fix, path="parent_job_id", got=request.parent_job_id)
    there = ", ".join(sorted(complete)) or "none"
    raise UnknownNameError.of(
        "checkpoint_missing",
        f"Job {request.parent_job_id} has no {wanted} under {run / kind}.",
        f"Complete ones: {there}. Choose one with `checkpoint`, or wait for the parent job.",
        path="checkpoint" if request.checkpoint else "parent_job_id",
    )


def _is_complete(folder: Path) -> bool:
    """Return whether a checkpoint has what its reader needs: a sharded state, an adapter or a complete model."""
    if (folder / ".metadata").is_file():
        return True
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        return False
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = model_folders.weight_names(folder)
        return bool(names) and all((folder / name).is_file() for name in names or ())
    return any(folder.glob("*.safetensors"))
