"""Finds the checkpoint to go on from, and refuses one that this training would not go on from exactly."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank import checkpoint_folders
from tao_skill_bank.checkpoint_folders import PROGRESS_FILE
from tao_skill_bank.errors import BlockedError, Problem, RequestError, UnknownNameError
from tao_skill_bank.training import checkpoint
from tao_skill_bank.training.distributed import Ranks

IDENTITY_FILE = "identity.json"
KINDS = ("checkpoints", "safetensors")
DIGEST_LENGTH = 16

Identity = Mapping[str, Any]
"""What decides the order and the content of the samples, by a name that a user knows; values are JSON."""


def resume_from(run_dir: Path, resume: bool | str, num_epochs: int, ranks: Ranks) -> Path | None:
    """Return the checkpoint to go on from, with the run directory ready for what comes after it.

    What a killed run left half-written is finished or removed. What the run directory holds beyond that checkpoint, of
    an earlier training, is moved to earlier_N/: it must not be taken for this training's best or newest.

    Raises:
        UnknownNameError: there is no complete checkpoint where one was asked for.
        RequestError: it has all the epochs that are asked for.

    """
    folder = find_resume(run_dir, resume)
    done = checkpoint.progress_of(folder).epoch if folder else 0
    if folder and done >= num_epochs:
        message = f"There is nothing to train: {folder} is at epoch {done}, and train.epoch is {num_epochs}."
        fix = f"Set train.epoch above {done}, or train.resume to false."
        raise RequestError.of("nothing_to_train", message, fix, path="train.epoch", got=num_epochs)
    ranks.barrier()  # every rank has looked: rank 0 may move folders now
    if ranks.is_main:
        checkpoint.recover_best(run_dir)
        _remove_unfinished(run_dir)
        _set_aside(run_dir, folder)
    ranks.barrier()
    return folder


def find_resume(run_dir: Path, resume: bool | str) -> Path | None:
    """Return the checkpoint folder that train.resume names; None for a fresh start.

    Raises:
        UnknownNameError: there is no complete checkpoint where one was asked for.

    """
    if resume is False:
        return None
    found = checkpoint_folders.newest(run_dir / "checkpoints") if resume is True else Path(resume)
    if found is not None and (found / PROGRESS_FILE).is_file():
        return found
    where = found or run_dir / "checkpoints"
    fix = "Set train.resume to false, or to an existing checkpoints/epoch_N folder."
    raise UnknownNameError.of("no_checkpoint", f"No checkpoint to resume in {where}.", fix, path="train.resume")


def write_identity(folder: Path, identity: Identity) -> None:
    """Record in a checkpoint what its training was fed with."""
    (folder / IDENTITY_FILE).write_text(json.dumps(identity, indent=1), encoding="utf-8")


def require_same(folder: Path | None, identity: Identity) -> None:
    """Raise BlockedError, which names every difference, when a checkpoint is of other data or another order."""
    if folder is None:
        return
    try:
        before = json.loads((folder / IDENTITY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{folder / IDENTITY_FILE} does not tell what the training was fed with: {error}"
        fix = "Resume from a complete checkpoint, or start anew with train.resume=false."
        raise BlockedError.of("checkpoint_broken", message, fix, path="train.resume") from None
    now = json.loads(json.dumps(identity))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    problems = [_changed(folder, name, before.get(name), now.get(name)) for name in names]
    if problems:
        raise BlockedError(problems)


def digest(documents: Iterable[Any]) -> str:
    """Return a hash of JSON documents and their order, short enough to be read."""
    found = hashlib.sha256()
    for document in documents:
        found.update(json.dumps(document, sort_keys=True).encode())
        found.update(b"\n")
    return found.hexdigest()[:DIGEST_LENGTH]


def _changed(folder: Path, name: str, before: Any, now: Any) -> Problem:
    return Problem(
        code="resume_changed",
        message=f"{name} was {json.dumps(before)} when {folder} was written, and is {json.dumps(now)} now.",
        fix=f"Set {name} back to {json.dumps(before)}, or start anew with train.resume=false.",
        path=name,
        got=now,
        expected=before,
    )


def _remove_unfinished(run_dir: Path) -> None:
    for kind in KINDS:
        for folder in (run_dir / kind).glob(".*"):
            if checkpoint_folders.is_checkpoint_name(folder.name.removeprefix(".")):
                shutil.rmtree(folder)


def _set_aside(run_dir: Path, resumed: Path | None) -> None:
    """Move away what is later than `resumed`: everything, when that is no checkpoint of this run directory."""
    is_own = resumed is not None and resumed.absolute().parent == (run_dir / "checkpoints").absolute()
    own = resumed if is_own else None
    if own is not None and own.absolute() == checkpoint_folders.newest(run_dir.absolute() / "checkpoints"):
        return
    progress = checkpoint.progress_of(own) if own else checkpoint.Progress()
    last = checkpoint_folders.position(own) if own else (-1, False, -1)
    later = [
        path for path in checkpoint_folders.all_in(run_dir / "checkpoints") if own is None or _is_after(path, last)
    ]
    later += [path for path in checkpoint_folders.all_in(run_dir / "safetensors") if _number(path) > progress.epoch]
    best = checkpoint.best_epoch(run_dir)
    if (run_dir / "best").is_dir() and (best is None or best > progress.epoch):
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


def _number(path: Path) -> int:
    return checkpoint_folders.position(path)[2]
