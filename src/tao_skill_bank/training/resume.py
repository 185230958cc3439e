"""Finds the checkpoint to resume from, and refuses one that this training would not continue exactly."""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.bank import early_stop
from tao_skill_bank.bank.training_facts import TrainingFacts
from tao_skill_bank.core import json_reader, regular_files
from tao_skill_bank.errors import BlockedError, Problem, RequestError, UnknownNameError
from tao_skill_bank.runs import checkpoint_folders, success
from tao_skill_bank.runs.checkpoint_folders import PROGRESS_FILE
from tao_skill_bank.training import checkpoint
from tao_skill_bank.training.distributed import Ranks

IDENTITY_FILE = "identity.json"
KINDS = ("checkpoints", "safetensors")
DIGEST_LENGTH = 16

SPEC_PATH = re.compile(r"[a-z_0-9]+(\.[a-z_0-9]+)+")
logger = logging.getLogger(__name__)

Identity = Mapping[str, Any]
"""The data fingerprint: what decides the content and order of the samples, by names that a user knows; JSON values."""


def find(
    run_dir: Path,
    resume: bool | str,
    facts: TrainingFacts,
    epochs: int,
    stop: int | None = None,
    max_steps: int | None = None,
) -> Path | None:
    """Return the checkpoint folder that the spec's resume key names; None for a start at step 0.

    A training that ended before its first checkpoint starts at step 0; one that was killed after its last checkpoint,
    before it reported its success, has only that left to do. Nothing is changed.

    Raises:
        UnknownNameError: the named folder is not a complete checkpoint.
        RequestError: the checkpoint already has all the epochs or steps that are requested.

    """
    folder = _folder(run_dir, resume, facts)
    if folder is None:
        return None
    progress = checkpoint.progress_of(folder, facts)
    if max_steps is not None:
        _require_steps_left(run_dir, folder, progress.step, facts, max_steps)
        return folder
    done = progress.epoch
    if done >= early_stop.last_epoch(epochs, stop) and not success.is_missing(run_dir, folder):
        path, last = facts.early_stop.limit(epochs, stop)
        message = f"There is nothing to train: {folder} is at epoch {done}, and {path} is {last}."
        fix = f"{facts.early_stop.more_epochs_fix(done, epochs, stop)}, or set {facts.resume} to false."
        raise RequestError.of("nothing_to_train", message, fix, path=path, got=last)
    return folder


def _require_steps_left(run_dir: Path, folder: Path, done: int, facts: TrainingFacts, max_steps: int) -> None:
    if done < max_steps or (done == max_steps and success.is_missing(run_dir, folder)):
        return
    path = facts.max_steps
    message = f"There is nothing to train: {folder} is at step {done}, and {path} is {max_steps}."
    fix = f"Set {path} above {done}, or set {facts.resume} to false."
    raise RequestError.of("nothing_to_train", message, fix, path=path, got=max_steps)


def prepare_run_directory(run_dir: Path, resumed: Path | None, ranks: Ranks, facts: TrainingFacts) -> None:
    """Prepare the run directory to continue after `resumed`. Every rank calls this, after every check has passed.

    Half-written output of a killed run is finished or removed. Output of an earlier training that is newer than this
    checkpoint moves to earlier_N/, so that it is not mistaken for this training's best or newest.
    """
    ranks.barrier()  # every rank has read the folders: rank 0 may move them now
    if ranks.is_main:
        checkpoint.recover_best(run_dir)
        _remove_unfinished(run_dir)
        _set_aside(run_dir, resumed, facts)
    ranks.barrier()


def _folder(run_dir: Path, resume: bool | str, facts: TrainingFacts) -> Path | None:
    if resume is False:
        return None
    found = checkpoint_folders.newest(run_dir / "checkpoints") if resume is True else Path(resume)
    if found is None:
        logger.info("There is no checkpoint in %s yet: the training starts at step 0.", run_dir)
        return None
    if (found / PROGRESS_FILE).is_file():
        return found
    fix = f"Set {facts.resume} to false, or to an existing checkpoints/epoch_N folder."
    raise UnknownNameError.of("no_checkpoint", f"No checkpoint to resume in {found}.", fix, path=facts.resume)


def write_identity(folder: Path, identity: Identity) -> None:
    """Record in a checkpoint the data fingerprint of its training."""
    (folder / IDENTITY_FILE).write_text(json.dumps(identity, indent=1), encoding="utf-8")


def require_same(folder: Path | None, identity: Identity, facts: TrainingFacts) -> None:
    """Raise BlockedError, which names every difference, when the data fingerprint of a checkpoint differs."""
    if folder is not None and (problems := changes(folder, identity, facts)):
        raise BlockedError(problems)


def changes(folder: Path, identity: Identity, facts: TrainingFacts, unknown: Collection[str] = ()) -> list[Problem]:
    """Return every difference between the data fingerprint of a checkpoint and `identity`.

    Args:
        folder: the checkpoint.
        identity: data fingerprint of the training that is to continue it.
        facts: of the model.
        unknown: names whose values cannot be determined here; they are not compared.

    Raises:
        BlockedError: the checkpoint has no readable data fingerprint.

    """
    try:
        before = dict(json_reader.loads(regular_files.read_bytes(folder / IDENTITY_FILE)))
    except (OSError, ValueError, TypeError) as error:
        message = f"{folder / IDENTITY_FILE} holds no data fingerprint: {error}"
        fix = f"Resume from a complete checkpoint, or {facts.starts_again}"
        raise BlockedError.of("checkpoint_broken", message, fix, path=facts.resume) from None
    now = json.loads(json.dumps(identity))
    names = [name for name in {**before, **now} if name not in unknown and before.get(name) != now.get(name)]
    return [_changed(folder, name, (before.get(name), now.get(name)), facts) for name in names]


def digest(documents: Iterable[Any]) -> str:
    """Return a hash of JSON documents and their order, short enough to read."""
    found = hashlib.sha256()
    for document in documents:
        found.update(json.dumps(document, sort_keys=True).encode())
        found.update(b"\n")
    return found.hexdigest()[:DIGEST_LENGTH]


def _changed(folder: Path, name: str, values: tuple[Any, Any], facts: TrainingFacts) -> Problem:
    before, now = values
    is_path = SPEC_PATH.fullmatch(name) is not None
    fix = f"Set it back: --set {name}={json.dumps(before)}" if is_path else f"Restore {name} as it was"
    return Problem(
        code="resume_changed",
        message=f"{name} was {json.dumps(before)} when {folder} was written, and is {json.dumps(now)} now.",
        fix=f"{fix}; or {facts.starts_again}",
        path=name,
        got=now,
        expected=before,
        fix_set={name: before} if is_path else {},
    )


def _remove_unfinished(run_dir: Path) -> None:
    for kind in KINDS:
        for folder in (run_dir / kind).glob(".*"):
            if checkpoint_folders.is_checkpoint_name(folder.name.split(".")[1]):
                shutil.rmtree(folder)


def _set_aside(run_dir: Path, resumed: Path | None, facts: TrainingFacts) -> None:
    """Move away what is newer than `resumed`: everything, unless that is a checkpoint of this run directory."""
    is_own = resumed is not None and resumed.absolute().parent == (run_dir / "checkpoints").absolute()
    own = resumed if is_own else None
    if own is not None and own.absolute() == checkpoint_folders.newest(run_dir.absolute() / "checkpoints"):
        return
    progress = checkpoint.progress_of(own, facts) if own else checkpoint.Progress()
    last = checkpoint_folders.position(own) if own else (-1, False, -1)
    later = [
        path for path in checkpoint_folders.all_in(run_dir / "checkpoints") if own is None or _is_after(path, last)
    ]
    at = progress.epoch, progress.step
    later += [
        path
        for path in checkpoint_folders.all_in(run_dir / "safetensors")
        if checkpoint_folders.is_later(path.name, *at)
    ]
    best = checkpoint.best_name(run_dir)
    if (run_dir / "best").is_dir() and (best is None or checkpoint_folders.is_later(best, *at)):
        later.append(run_dir / "best")
    if not later:
        return
    number = 1 + len(list(run_dir.glob("earlier_*")))
    for path in later:
        target = run_dir / f"earlier_{number}" / path.relative_to(run_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


def _is_after(path: Path, last: tuple[int, bool, int]) -> bool:
    return checkpoint_folders.position(path) > last
