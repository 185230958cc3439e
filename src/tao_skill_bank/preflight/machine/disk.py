"""Checks that the run directory can be created, and that disks hold checkpoints and kept features."""

import os
import shutil
from pathlib import Path

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import blocking, info, not_checked, size, warning
from tao_skill_bank.preflight.model.inspection import Inspection
from tao_skill_bank.preflight.model.kept_features import Kept

BESIDES_KEPT = 2  # the best one, and the one being written


def check(job: Job, inspection: Inspection, feature_cache: Kept | None = None) -> list[Finding]:
    """Return the findings of the results folder and its disk, and of the disk of kept features."""
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
    apart = _features(feature_cache, parent) if feature_cache else []
    return [*_space(job, inspection, parent, None if apart else feature_cache), *apart]


def _features(kept: Kept, results: Path) -> list[Finding]:
    """Return the finding of features that do not fit, or lie on another disk than the results; else nothing."""
    if kept.folder is None:
        message = f"On the machines that train, {kept.told} in $TAO_STATE_DIR; their disks were not checked."
        return [not_checked("feature_disk_not_checked", message, kept.cure, needed_bytes=kept.num_bytes)]
    place = locations.nearest_existing(kept.folder)
    free = shutil.disk_usage(place).free
    evidence = {"needed_bytes": kept.num_bytes, "free_bytes": free, "media": kept.num_media}
    told = f"{kept.told[0].upper()}{kept.told[1:]} in {kept.folder}"
    lacking = kept.num_bytes + kept.spare_bytes - free
    if lacking > 0:
        message = f"{told}, and {size(max(0, free - kept.spare_bytes))} of its disk may be used"
        if kept.is_required and lacking > kept.bytes_there():
            return [blocking("feature_disk_too_small", f"{message}.", kept.cure, str(kept.folder), **evidence)]
        message += ", unless they are there already"
        message += "." if kept.is_required else ": the run does without, and computes them anew every epoch."
        return [warning("feature_disk_tight", message, kept.cure, str(kept.folder), **evidence)]
    if place.stat().st_dev == results.stat().st_dev:
        return []
    return [info("feature_disk", f"{told}, of {size(free)} free.", str(kept.folder), **evidence)]


def _space(job: Job, inspection: Inspection, parent: Path, kept: Kept | None) -> list[Finding]:
    """Return the finding of the results' disk, which holds `kept` too."""
    per_checkpoint = inspection.answer.get("checkpoint_bytes") or 0
    num_checkpoints = _num_checkpoints(job) if per_checkpoint else 0
    if not num_checkpoints and not kept:
        return []
    features = kept.num_bytes if kept else 0
    needed, free = per_checkpoint * num_checkpoints + features, shutil.disk_usage(parent).free
    evidence = {"needed_bytes": needed, "free_bytes": free, "checkpoints": num_checkpoints}
    told = [f"{num_checkpoints} checkpoints of {size(per_checkpoint)} take {size(needed - features)}"]
    told = told if num_checkpoints else []
    if kept:
        evidence |= {"feature_bytes": features, "media": kept.num_media}
        told.append(f"{kept.told} in {kept.folder}")
    what = " and ".join(told)
    if needed <= free:
        return [info("disk", f"{what[0].upper()}{what[1:]}, of {size(free)} free.", job.results_dir, **evidence)]
    cures = ["Free space or choose another results folder."]
    if num_checkpoints:
        room = max(0, free - features) // per_checkpoint
        cures = [f"Free space, choose another results folder, or {_thrift(room)}."]
    message = f"{what[0].upper()}{what[1:]}, and {parent} has {size(free)} free."
    if kept:
        cures.append(kept.cure)
        if needed - free <= kept.bytes_there():
            message += " They fit when the features are there already."
            return [warning("disk_tight", message, " ".join(cures), job.results_dir, **evidence)]
    return [blocking("disk_too_small", message, " ".join(cures), job.results_dir, **evidence)]


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
