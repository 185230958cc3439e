"""Checks that the run directory can be created, and that disks hold checkpoints and the feature cache."""

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import blocking, info, not_checked, size, warning
from tao_skill_bank.data.kinds import Seen
from tao_skill_bank.preflight.data import steps
from tao_skill_bank.preflight.model.feature_cache import FeatureCache
from tao_skill_bank.preflight.model.inspection import Inspection

EXTRA_CHECKPOINTS = 2  # the best one, and the one being written


def check(
    job: Job,
    inspection: Inspection,
    feature_cache: FeatureCache | None = None,
    inputs: Sequence[Seen] = (),
    *,
    runs_here: bool = True,
) -> list[Finding]:
    """Return the findings of the results folder and its disk, and of the disk of the feature cache."""
    if locations.is_uri(job.results_dir):
        message = f"Results go to {job.results_dir}; its free space was not checked."
        return [not_checked("results_dir_remote", message, "Check it with the storage's own tools.", job.results_dir)]
    parent = locations.nearest_existing(Path(job.results_dir))
    if not runs_here and parent == Path("/"):
        return [_not_visible(job)]
    if not parent.is_dir():
        message = f"Results folder {job.results_dir} cannot be created: {parent} is a file."
        return [blocking("results_dir_unwritable", message, "Choose another results folder.", job.results_dir)]
    if not os.access(parent, os.W_OK | os.X_OK):
        message = f"Results folder {job.results_dir} cannot be written: {parent} is read-only for this user."
        return [blocking("results_dir_unwritable", message, "Choose another results folder.", job.results_dir)]
    apart = _features(feature_cache, parent) if feature_cache else []
    num_checkpoints = _num_checkpoints(job, steps.count(job, inputs))
    return [*_space(job, inspection, parent, None if apart else feature_cache, num_checkpoints), *apart]


def _not_visible(job: Job) -> Finding:
    """Return the warning of a results folder of which nothing is here; the launch stops if it cannot be made either."""
    message = (
        f"Results folder {job.results_dir} is not visible from here: no part of it exists, and its disk was not "
        f"checked. Platform {job.platform.name} runs the job on other machines; the launch writes the plan there from "
        "this one."
    )
    fix = "Launch on a machine that sees the folder, such as a login node, or name one that both see."
    cannot_write = not os.access("/", os.W_OK | os.X_OK)
    return warning("results_not_visible", message, fix, job.results_dir, blocks_run=cannot_write)


def _features(cache: FeatureCache, results: Path) -> list[Finding]:
    """Return the finding of a cache that does not fit, or lies on another disk than the results; else nothing."""
    if cache.folder is None:
        message = f"On the machines that train, {cache.summary} in $TAO_STATE_DIR; their disks were not checked."
        return [not_checked("feature_disk_not_checked", message, cache.fix, needed_bytes=cache.num_bytes)]
    place = locations.nearest_existing(cache.folder)
    free = shutil.disk_usage(place).free
    evidence = {"needed_bytes": cache.num_bytes, "free_bytes": free, "media": cache.num_media}
    summary = f"{cache.summary[0].upper()}{cache.summary[1:]} in {cache.folder}"
    lacking = cache.num_bytes + cache.spare_bytes - free
    if lacking > 0:
        message = f"{summary}, and {size(max(0, free - cache.spare_bytes))} of its disk may be used"
        if cache.is_required and lacking > cache.bytes_there():
            return [blocking("feature_disk_too_small", f"{message}.", cache.fix, str(cache.folder), **evidence)]
        message += ", unless they are there already"
        message += "." if cache.is_required else ": the run does without a cache, and computes them again every epoch."
        return [warning("feature_disk_tight", message, cache.fix, str(cache.folder), **evidence)]
    if place.stat().st_dev == results.stat().st_dev:
        return []
    return [info("feature_disk", f"{summary}, of {size(free)} free.", str(cache.folder), **evidence)]


def _space(
    job: Job, inspection: Inspection, parent: Path, cache: FeatureCache | None, num_checkpoints: int
) -> list[Finding]:
    """Return the finding of the results' disk, which holds the feature cache too where one is given."""
    per_checkpoint = inspection.answer.get("checkpoint_bytes") or 0
    num_checkpoints = num_checkpoints if per_checkpoint else 0
    if not num_checkpoints and not cache:
        return []
    features = cache.num_bytes if cache else 0
    needed, free = per_checkpoint * num_checkpoints + features, shutil.disk_usage(parent).free
    evidence = {"needed_bytes": needed, "free_bytes": free, "checkpoints": num_checkpoints}
    parts = [f"{num_checkpoints} checkpoints of {size(per_checkpoint)} take {size(needed - features)}"]
    parts = parts if num_checkpoints else []
    if cache:
        evidence |= {"feature_bytes": features, "media": cache.num_media}
        parts.append(f"{cache.summary} in {cache.folder}")
    what = " and ".join(parts)
    if needed <= free:
        return [info("disk", f"{what[0].upper()}{what[1:]}, of {size(free)} free.", job.results_dir, **evidence)]
    fixes = ["Free space or choose another results folder."]
    if num_checkpoints:
        room = max(0, free - features) // per_checkpoint
        fixes = [f"Free space, choose another results folder, or {_thrift(room)}."]
        evidence |= {"room": room}
    message = f"{what[0].upper()}{what[1:]}, and {parent} has {size(free)} free."
    if cache:
        fixes.append(cache.fix)
        if needed - free <= cache.bytes_there():
            message += " They fit if the features are already there."
            return [warning("disk_tight", message, " ".join(fixes), job.results_dir, **evidence)]
    return [blocking("disk_too_small", message, " ".join(fixes), job.results_dir, **evidence)]


def _num_checkpoints(job: Job, counted: steps.Steps | None) -> int:
    """Return how many checkpoints lie on the disk at once: those kept, the best, and the one being written."""
    workload = job.workload
    kept, saves = workload.max_checkpoints, workload.num_saves or workload.epochs or 1
    if not kept:
        return 0
    if workload.max_steps is not None and counted and counted.per_epoch:  # saves are counted for all epochs
        saves = math.ceil(saves * counted.total / (counted.per_epoch * (workload.epochs or 1)))
    return saves if kept < 0 else min(kept + EXTRA_CHECKPOINTS, saves)


def _thrift(room: int) -> str:
    if room > EXTRA_CHECKPOINTS:
        return f"keep at most {room - EXTRA_CHECKPOINTS} checkpoints"
    return f"save at most {room} times" if room else "write no checkpoints"
