"""Checks that the checkpoint to resume from is complete, leaves epochs to train, and belongs to this training."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank.early_stop import EarlyStop
from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.core import json_reader, locations, regular_files
from tao_skill_bank.core.findings import blocking, from_error, info, listed, not_checked
from tao_skill_bank.errors import ConflictError
from tao_skill_bank.jobs import search_folders
from tao_skill_bank.jobs.launched import earlier_job
from tao_skill_bank.preflight.model import inspection
from tao_skill_bank.runs import checkpoint_folders, success
from tao_skill_bank.runs.checkpoint_folders import PROGRESS_FILE

NEEDED = (PROGRESS_FILE, ".metadata")  # torch.distributed.checkpoint writes .metadata last


def check(job: Job, *, compares_resumed: bool = True) -> list[Finding]:
    """Return the findings of the checkpoint that training continues from, named or the newest of the run directory.

    It is not compared with the job where the caller's own request made it (`compares_resumed`).
    """
    named = job.workload.resume_from
    if not named and not job.workload.resume:
        return []
    place = named or job.results_dir
    if locations.is_uri(place):
        message = f"The checkpoint to resume from, in {place}, is not on this machine."
        fix = f"To have it checked first: tao-skills data stage {place} FOLDER, then name the folder."
        return [not_checked("checkpoint_remote", message, fix, place)]
    if misplaced := _misplaced(job, named):
        return misplaced
    folder = Path(named) if named else checkpoint_folders.newest(Path(job.results_dir) / "checkpoints")
    if folder is None or not folder.exists():
        return _no_checkpoint(job, folder)
    found = _progress(folder, job)
    is_final = not compares_resumed or any(finding.severity == "blocking" for finding in found)
    return found if is_final else [*found, *_differences(job, folder)]


def _no_checkpoint(job: Job, folder: Path | None) -> list[Finding]:
    """Return what it means that a checkpoint is missing: nothing where an earlier job of this training saved none."""
    try:
        earlier = earlier_job(job) if folder is None else None
    except ConflictError as error:
        return from_error(error)
    if earlier is not None:
        message = f"Job {earlier} has saved no checkpoint in {job.results_dir} yet: the training starts at step 0."
        return [info("resume_from_start", message, job.results_dir)]
    where = folder or f"the newest of {job.results_dir}/checkpoints"
    message = f"The checkpoint to resume from, {where}, does not exist."
    fix = "Name an existing checkpoints/epoch_N folder, or start at step 0"
    fix += f": --set {job.resume_key}=false" if job.resume_key else "."
    found = blocking("checkpoint_missing", message, fix, str(folder or job.results_dir))
    return [replace(found, fix_choices=({job.resume_key: False},) if job.resume_key else ())]


def _misplaced(job: Job, named: str | None) -> list[Finding]:
    """Refuse a relative path, and the run directory of a search."""
    if named and not Path(named).is_absolute():
        message = f"The checkpoint to resume from, {named}, is not an absolute path: the run starts in its own folder."
        absolute = str(Path(named).absolute())
        found = blocking("resume_relative", message, f"Name it {absolute}.", named)
        return [replace(found, fix_set={job.resume_key: absolute} if job.resume_key else {})]
    refused = None if named else search_folders.refusal(job)
    return [blocking(refused.code, refused.message, refused.fix, refused.path)] if refused else []


def _differences(job: Job, folder: Path) -> list[Finding]:
    """Ask the training plane what its trainer would refuse: other data, other weights, a truncated file."""
    module = inspection.sibling_module(job, "resumable")
    if module is None or find_spec("torch") is None:
        return []  # without torch nothing trains here, which the platform reports
    answer, reason = inspection.ask(job, module, ["--checkpoint", str(folder)])
    if why_not := reason or answer.get("not_compared"):
        message = f"Not everything of this training was compared with {folder}: {why_not.rstrip('.')}."
        fix = "Launch it: the trainer compares them at its start, and keeps what the earlier job wrote."
        return [not_checked("resume_not_compared", message, fix, str(folder))]
    return [inspection.finding_of(each) for each in answer["problems"]]


def _progress(folder: Path, job: Job) -> list[Finding]:
    absent = [name for name in NEEDED if not (folder / name).is_file()]
    if absent:
        message = f"{folder} is not a complete checkpoint to resume from: it lacks {listed(absent)}."
        fix = "Name a complete checkpoints/epoch_N folder of a run."
        return [blocking("checkpoint_incomplete", message, fix, str(folder), files=absent)]
    try:
        progress = json_reader.loads(regular_files.read_bytes(folder / PROGRESS_FILE))
        done, step = int(progress["epoch"]), int(progress["step"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        message = f"{folder / PROGRESS_FILE} does not say how many epochs and steps are done."
        return [blocking("checkpoint_broken", message, "Resume from another checkpoint.", str(folder))]
    if job.workload.max_steps is not None:
        return _by_steps(folder, job, step, job.workload.max_steps) or [_continues(folder, done, step)]
    if job.workload.epochs is not None and done >= job.workload.epochs:
        return _at_the_end(folder, job, done, job.workload.epochs)
    return [_continues(folder, done, step)]


def _continues(folder: Path, done: int, step: int) -> Finding:
    message = f"Training continues from {folder}, after {done} epochs and {step} steps in all."
    return info("resume", message, str(folder), done=done)


def _by_steps(folder: Path, job: Job, done: int, max_steps: int) -> list[Finding]:
    """Return what it means that no step is left; nothing where there are some."""
    if done < max_steps or (done == max_steps and success.is_missing(Path(job.results_dir), folder)):
        return []
    keys = catalog.find(job.skill).info.automl
    path = (keys.steps if keys else None) or "the number of steps"
    message = f"{folder} has trained {done} steps already, and {path} asks for {max_steps}: nothing is left to train."
    fix = f"Set {path} above {done}, or to null to train by epochs."
    return [blocking("nothing_to_train", message, fix, str(folder), done=done, max_steps=max_steps)]


def _at_the_end(folder: Path, job: Job, done: int, epochs: int) -> list[Finding]:
    """Return what it means that no epoch is left: nothing to train, or only the report of a killed job's success."""
    if success.is_missing(Path(job.results_dir), folder):
        message = f"The earlier job ended after {folder}, its last checkpoint, and before it reported success: nothing "
        return [info("resume_at_the_end", f"{message}is trained again, and the job completes.", str(folder), done=done)]
    keys, scheduled = _epoch_keys(job), job.workload.scheduled_epochs or epochs
    path, _ = keys.limit(scheduled, epochs)
    message = f"{folder} has trained {done} epochs already, and {path} asks for {epochs}: nothing is left to train."
    fix = f"{keys.more_epochs_fix(done, scheduled, None if epochs == scheduled else epochs)}."
    found = blocking("nothing_to_train", message, fix, str(folder), done=done, epochs=epochs)
    more = keys.more_epochs(done, scheduled, None if epochs == scheduled else epochs) if _names_epochs(job) else {}
    return [replace(found, fix_choices=(more,) if more else ())]


def _names_epochs(job: Job) -> bool:
    keys = catalog.find(job.skill).info.automl
    return keys is not None and keys.stop is not None


def _epoch_keys(job: Job) -> EarlyStop:
    """Return what the skill's train spec calls its epochs; words where the skill does not say."""
    keys = catalog.find(job.skill).info.automl
    return EarlyStop(keys.epochs if keys else "the number of epochs", (keys.stop if keys else None) or "the last epoch")
