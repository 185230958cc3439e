"""Checks that the checkpoint to continue from is whole and leaves epochs to train."""

import json
from pathlib import Path

from tao_skill_bank import checkpoint_folders
from tao_skill_bank.checkpoint_folders import PROGRESS_FILE
from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.preflight import locations
from tao_skill_bank.preflight.findings import blocking, info, listed, not_checked

NEEDED = (PROGRESS_FILE, ".metadata")  # torch.distributed.checkpoint writes .metadata last


def check(job: Job) -> list[Finding]:
    """Return the findings of the checkpoint that training continues from, named or the newest of the run directory."""
    named = job.workload.resume_from
    if not named and not job.workload.resume:
        return []
    place = named or job.results_dir
    if locations.is_uri(place):
        message = f"The checkpoint to resume from, in {place}, is not on this machine."
        return [not_checked("checkpoint_remote", message, "Stage it locally.", place)]
    if named and not Path(named).is_absolute():
        message = f"The checkpoint to resume from, {named}, is no absolute path: the run starts in its own folder."
        return [blocking("resume_relative", message, f"Name it {Path(named).absolute()}.", named)]
    folder = Path(named) if named else checkpoint_folders.newest(Path(job.results_dir) / "checkpoints")
    if folder is None or not folder.exists():
        where = folder or f"the newest of {job.results_dir}/checkpoints"
        message = f"The checkpoint to resume from, {where}, does not exist."
        fix = "Name an existing checkpoints/epoch_N folder, or switch resume off."
        return [blocking("checkpoint_missing", message, fix, str(folder or job.results_dir))]
    return _progress(folder, job.workload.epochs)


def _progress(folder: Path, epochs: int | None) -> list[Finding]:
    absent = [name for name in NEEDED if not (folder / name).is_file()]
    if absent:
        message = f"{folder} is no complete checkpoint to resume from: it lacks {listed(absent)}."
        fix = "Name a complete checkpoints/epoch_N folder of a run."
        return [blocking("checkpoint_incomplete", message, fix, str(folder), files=absent)]
    try:
        progress = json.loads((folder / PROGRESS_FILE).read_text(encoding="utf-8"))
        done, step = int(progress["epoch"]), int(progress["step"])
    except (OSError, ValueError, KeyError, TypeError):
        message = f"{folder / PROGRESS_FILE} does not tell how many epochs and steps are done."
        return [blocking("checkpoint_broken", message, "Resume from another checkpoint.", str(folder))]
    if epochs is not None and done >= epochs:
        message = (
            f"{folder} has trained {done} epochs already, and the run asks for {epochs}: nothing is left to train."
        )
        fix = f"Ask for more epochs in all: --set train.epoch={done + 1} or more."
        return [blocking("nothing_to_train", message, fix, str(folder), done=done, epochs=epochs)]
    return [
        info(
            "resume",
            f"Training continues from {folder}, after {done} epochs and {step} steps in all.",
            str(folder),
            done=done,
        )
    ]
