"""Compares this machine's GPUs, or its memory for a CPU run, with what the job needs."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import psutil

from tao_skill_bank.bank import catalog, execution
from tao_skill_bank.contracts import Finding, HardwareNeed, Job
from tao_skill_bank.core import plain_text, settings
from tao_skill_bank.core.findings import blocking, info, not_checked, size, warning
from tao_skill_bank.preflight.model.inspection import Inspection, fitting

OLDEST_ARCHITECTURE = 75  # Turing; the CUDA 13 builds of PyTorch dropped what is older
BFLOAT16_ARCHITECTURE = 80
ESTIMATE_TOLERANCE = 1.25  # without execution plans the estimate is rough: block only when it is this far over


@dataclass(frozen=True)
class Gpu:
    """One GPU as its driver describes it. `architecture` is 90 for sm_90."""

    index: int
    name: str
    memory_bytes: int
    free_bytes: int
    architecture: int


class NoDriverError(Exception):
    """The machine has no NVIDIA driver, or it does not answer."""


def check(job: Job, inspection: Inspection, *, runs_here: bool = True) -> list[Finding]:
    """Return the findings of the device that the job runs on; nothing is known of other machines."""
    if not runs_here:
        return [_elsewhere(job.platform.name)]
    needed = inspection.answer.get("memory_bytes_per_gpu", {})
    if job.resources.device == "cpu":
        return [
            *_served_by_gpu(job.workload.hardware),
            *_host_memory(job, needed.get("total"), inspection),
        ]
    if find_spec("pynvml") is None:
        message = "GPUs were not checked: the Python module 'pynvml' is not installed."
        return [not_checked("gpu_not_checked", message, "pip install 'tao-skill-bank[train]'")]
    try:
        gpus = visible(list_gpus(), settings.visible_gpus())
    except NoDriverError as error:
        return [_missing(job, f"no NVIDIA driver answers ({error})")]
    if len(gpus) < job.resources.processes_per_node:
        return [_missing(job, f"{len(gpus)} are visible")]
    used = gpus[: job.resources.processes_per_node]
    findings = [*_architecture(used), *_needed_architecture(used, job.workload.hardware)]
    choice = _choice(used, inspection)
    memory = _memory(used, needed, inspection.answer.get("cure"), choice)
    smallest = min(gpu.memory_bytes for gpu in used)
    fixed = [
        _with_choices(found, fitting(job, inspection, "gpu", smallest)) if found.blocks_run else found
        for found in memory
    ]
    return [*findings, *fixed, *_plan(choice, inspection)]


def _elsewhere(platform: str) -> Finding:
    message = (
        f"The job runs on machines of platform {platform}: their GPUs and memory were not compared with its needs."
    )
    return not_checked("hardware_not_checked", message, "See that its nodes have enough GPUs of enough memory.")


def list_gpus() -> list[Gpu]:
    """Ask NVML for every GPU of this machine. Raises NoDriverError."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoDriverError(str(error)) from None
    try:
        return [_describe(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        raise NoDriverError(str(error)) from None
    finally:
        pynvml.nvmlShutdown()


def visible(gpus: Sequence[Gpu], selection: str | None) -> list[Gpu]:
    """Return the GPUs that $CUDA_VISIBLE_DEVICES leaves; names other than indices count as one GPU each."""
    if selection is None:
        return list(gpus)
    named = [part.strip() for part in selection.split(",") if part.strip()]
    wanted = list(itertools.takewhile(lambda part: not part.startswith("-"), named))  # -1 and what follows is hidden
    by_index = {str(gpu.index): gpu for gpu in gpus}
    if all(part.isdigit() for part in wanted):
        return [by_index[part] for part in wanted if part in by_index]
    return list(gpus)[: len(wanted)]


def _describe(index: int) -> Gpu:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(index, str(pynvml.nvmlDeviceGetName(handle)), memory.total, memory.free, 10 * major + minor)


def _missing(job: Job, what: str) -> Finding:
    count = job.resources.processes_per_node
    message = f"The run needs {plain_text.counted(count, 'GPU')} on this machine and {what}."
    fix = f"Run it on a machine with {plain_text.counted(count, 'GPU')}, or lower the number of GPUs."
    if catalog.find(job.skill).action(job.action).may_use_cpu:
        fix += " Or run on the CPU: --option device=cpu."
    return warning("gpu_missing", message, fix, needed=count, blocks_run=True)


def _architecture(gpus: Sequence[Gpu]) -> list[Finding]:
    oldest = min(gpus, key=lambda gpu: gpu.architecture)
    names = sorted({gpu.name for gpu in gpus})
    evidence: dict[str, Any] = {"gpus": names, "count": len(gpus), "architecture": f"sm_{oldest.architecture}"}
    if oldest.architecture < OLDEST_ARCHITECTURE:
        message = (
            f"GPU {oldest.index} ({oldest.name}, sm_{oldest.architecture}) is older than PyTorch's builds support."
        )
        return [blocking("gpu_too_old", message, f"Use GPUs of sm_{OLDEST_ARCHITECTURE} or newer.", **evidence)]
    what = f"{', '.join(names)}, sm_{oldest.architecture}, {size(oldest.memory_bytes)} each"
    message = f"{plain_text.counted(len(gpus), 'GPU')}: {what}."
    if oldest.architecture < BFLOAT16_ARCHITECTURE:
        return [warning("gpu_without_bfloat16", message + " They compute bfloat16 slowly.", "Use float16.", **evidence)]
    return [info("gpus", message, **evidence)]


def _needed_architecture(gpus: Sequence[Gpu], need: HardwareNeed | None) -> list[Finding]:
    """Warn of a GPU that lacks what the run's product is made for; a run that is meant for it is refused."""
    oldest = min(gpus, key=lambda gpu: gpu.architecture)
    if need is None or oldest.architecture >= need.architecture:
        return []
    lacking = f"GPU {oldest.index} ({oldest.name}) is sm_{oldest.architecture}"
    message = f"{need.what} needs GPUs of sm_{need.architecture} or newer, and {lacking}."
    evidence = {"needed": f"sm_{need.architecture}", "architecture": f"sm_{oldest.architecture}"}
    return [warning("gpu_lacks_format", message, need.fix, blocks_run=need.required, **evidence)]


def _served_by_gpu(need: HardwareNeed | None) -> list[Finding]:
    """Report which GPU the product of a run on the CPU needs, and warn of a run that needs the GPU itself."""
    if need is None:
        return []
    if need.computes:
        message = f"{need.what} needs a GPU of sm_{need.architecture} or newer, and the run is planned on the CPU."
        evidence = {"needed": f"sm_{need.architecture}", "architecture": "cpu"}
        return [warning("gpu_lacks_format", message, need.fix, blocks_run=need.required, **evidence)]
    message = f"{need.what} needs GPUs of sm_{need.architecture} or newer; the run itself computes on the CPU."
    return [info("gpu_needed_later", message, needed=f"sm_{need.architecture}")]


def _memory(
    gpus: Sequence[Gpu], needed: dict[str, int], model_fix: str | None, choice: execution.Choice | None
) -> list[Finding]:
    total = needed.get("total")
    if not total:
        return []
    smallest = min(gpus, key=lambda gpu: gpu.memory_bytes)
    fixed = max(sum(needed.get(part, 0) for part in ("weights", "gradients", "optimizer")), needed.get("loading", 0))
    evidence: dict[str, Any] = {
        "needed_bytes": dict(needed),
        "memory_bytes": smallest.memory_bytes,
        "free_bytes": smallest.free_bytes,
    }
    what = "weights, gradients, optimizer and loading" if "optimizer" in needed else "weights"
    summary = f"The run needs about {size(total)} per GPU ({size(fixed)} of it for {what})"
    default = "Lower the micro-batch or the inputs' size, shard over more GPUs, use LoRA, or offload to the host."
    fix = model_fix or default
    lacks = not choice.fits if choice else total > ESTIMATE_TOLERANCE * smallest.memory_bytes
    if fixed > smallest.memory_bytes or lacks:
        message = f"{summary}, and GPU {smallest.index} has {size(smallest.memory_bytes)}."
        return [blocking("gpu_memory_short", message, fix, **evidence)]
    least_free = min(gpus, key=lambda gpu: gpu.free_bytes)
    if total > least_free.free_bytes:
        message = f"{summary}, and GPU {least_free.index} has {size(least_free.free_bytes)} free now."
        return [warning("gpu_memory_tight", message, f"Free the GPU. {fix}", **evidence)]
    return [info("gpu_memory", f"{summary}, of {size(smallest.memory_bytes)}.", **evidence)]


def _choice(gpus: Sequence[Gpu], inspection: Inspection) -> execution.Choice | None:
    """Return the execution plan of a training on the smallest GPU; None where the model offers no plans."""
    plans = execution.from_json(inspection.answer.get("ways", []))
    return execution.choose(plans, min(gpu.memory_bytes for gpu in gpus)) if plans else None


def _plan(choice: execution.Choice | None, inspection: Inspection) -> list[Finding]:
    """Report the fastest execution plan that fits, and what a faster one would need."""
    if choice is None or not choice.fits:
        return []  # the finding about memory blocks
    message = f"The fastest execution plan that fits: {choice.reason}"
    return [info("execution", message, settings=dict(choice.plan.settings), ways=inspection.answer["ways"])]


def _with_choices(found: Finding, choices: Sequence[dict[str, Any]]) -> Finding:
    """Return a finding with the overrides that were tried and fit: a single one is the fix."""
    if len(choices) == 1:
        return replace(found, fix_set=choices[0])
    return replace(found, fix_choices=tuple(choices))


def _host_memory(job: Job, per_process: int | None, inspection: Inspection) -> list[Finding]:
    if not per_process:
        return []
    memory = psutil.virtual_memory()
    needed = per_process * job.resources.processes_per_node
    evidence: dict[str, Any] = {"needed_bytes": needed, "memory_bytes": memory.total, "free_bytes": memory.available}
    summary = f"The run needs about {size(needed)} of memory"
    fix = inspection.answer.get("cure") or "Lower the micro-batch or the number of processes."
    if needed > memory.total:
        message = f"{summary}, and this machine has {size(memory.total)}."
        share = memory.total // job.resources.processes_per_node
        short = blocking("memory_short", message, fix, **evidence)
        return [_with_choices(short, fitting(job, inspection, "host", share))]
    if needed > memory.available:
        return [warning("memory_tight", f"{summary}, and {size(memory.available)} are available now.", fix, **evidence)]
    return [info("memory", f"{summary}, of {size(memory.total)}.", **evidence)]
