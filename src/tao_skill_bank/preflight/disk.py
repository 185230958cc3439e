"""Checks that the run directory can be created and that its disk holds the checkpoints."""

import os
import shutil
from pathlib import Path

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.preflight import locations
from tao_skill_bank.preflight.findings import blocking, info, not_checked, size
from tao_skill_bank.preflight.inspection import Inspection

BESIDES_KEPT = 2  # the best one, and the one being written


def check(job: Job, inspection: Inspection) -> list[Finding]:
    """Return the findings of the results folder and its disk."""
    if locations.is_uri(job.results_dir):
        message = f"Results go to {job.results_dir}; its free space was not checked."
        return [not_checked("results_dir_remote", message, "Check it with the storage's own tools.", job.results_dir)]
    parent = locations.nearest_existing(Path(job.results_dir))
    if not parent.is_dir():
        message = f"Results folder {job.results_dir} cannot be created: {parent} is a file."
        return [blocking("results_dir_unwritable", message, "Choose another results folder.", job.results_dir)]
    if not os.access(parent, os.W_OK | os.X_OK):
        message = f"Results folder {job.results_dir} cannot be written: {parent} is read-only for this user."
        return [blocking("results_dir_unwritable", message, "Choose another results folder.", job.results_dir)]
    return _space(job, inspection, parent)


def _space(job: Job, inspection: Inspection, parent: Path) -> list[Finding]:
    per_checkpoint = inspection.answer.get("checkpoint_bytes")
    num_checkpoints = _num_checkpoints(job)
    if not per_checkpoint or not num_checkpoints:
        return []
    needed, free = per_checkpoint * num_checkpoints, shutil.disk_usage(parent).free
    evidence = {"needed_bytes": needed, "free_bytes": free, "checkpoints": num_checkpoints}
    told = f"{num_checkpoints} checkpoints of {size(per_checkpoint)} take {size(needed)}"
    if needed > free:
        message = f"{told}, and {parent} has {size(free)} free."
        fix = f"Free space, choose another results folder, or {_thrift(free // per_checkpoint)}."
        return [blocking("disk_too_small", message, fix, job.results_dir, **evidence)]
    return [info("disk", f"{told} of {size(free)} free.", job.results_dir, **evidence)]


def _num_checkpoints(job: Job) -> int:
    """Return how many checkpoints lie on the disk at once: those kept, the best, and the one being written."""
    kept, saves = job.workload.max_checkpoints, job.workload.num_saves or job.workload.epochs or 1
    if not kept:
        return 0
    return saves if kept < 0 else min(kept + BESIDES_KEPT, saves)


def _thrift(room: int) -> str:
    if room > BESIDES_KEPT:
        return f"keep at most {room - BESIDES_KEPT} checkpoints"
    return f"save at most {room} times" if room else "write no checkpoints"
