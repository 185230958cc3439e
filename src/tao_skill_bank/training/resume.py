"""Finds the checkpoint to go on from, and refuses one that this training would not go on from exactly."""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.bank import early_stop
from tao_skill_bank.errors import BlockedError, Problem, RequestError, UnknownNameError
from tao_skill_bank.runs import checkpoint_folders
from tao_skill_bank.runs.checkpoint_folders import PROGRESS_FILE
from tao_skill_bank.training import checkpoint
from tao_skill_bank.training.checkpoint import START_ANEW
from tao_skill_bank.training.distributed import Ranks

IDENTITY_FILE = "identity.json"
KINDS = ("checkpoints", "safetensors")
DIGEST_LENGTH = 16

SPEC_PATH = re.compile(r"[a-z_0-9]+(\.[a-z_0-9]+)+")
logger = logging.getLogger(__name__)

Identity = Mapping[str, Any]
"""What decides the order and the content of the samples, by a name that a user knows; values are JSON."""


def find(run_dir: Path, resume: bool | str, epochs: int, stop: int | None = None) -> Path | None:
    """Return the checkpoint folder that train.resume names; None for a start at step 0.

    A training that ended before its first checkpoint is gone on with at step 0. Nothing is changed.

    Raises:
        UnknownNameError: there is no complete checkpoint where one was named.
        RequestError: it has all the epochs that are asked for.

    """
    folder = _folder(run_dir, resume)
    done = checkpoint.progress_of(folder).epoch if folder else 0
    if folder and done >= early_stop.last_epoch(epochs, stop):
        path, last = early_stop.limit(epochs, stop)
        message = f"There is nothing to train: {folder} is at epoch {done}, and {path} is {last}."
        fix = f"{early_stop.more_epochs_fix(done, epochs, stop)}, or set train.resume to false."
        raise RequestError.of("nothing_to_train", message, fix, path=path, got=last)
    return folder


def make_way(run_dir: Path, resumed: Path | None, ranks: Ranks) -> None:
    """Make the run directory ready for what comes after `resumed`. Every rank calls this, once nothing is refused.

    What a killed run left half-written is finished or removed. What the run directory holds beyond that checkpoint, of
    an earlier training, is moved to earlier_N/: it must not be taken for this training's best or newest.
    """
    ranks.barrier()  # every rank has looked: rank 0 may move folders now
    if ranks.is_main:
        checkpoint.recover_best(run_dir)
        _remove_unfinished(run_dir)
        _set_aside(run_dir, resumed)
    ranks.barrier()


def _folder(run_dir: Path, resume: bool | str) -> Path | None:
    if resume is False:
        return None
    found = checkpoint_folders.newest(run_dir / "checkpoints") if resume is True else Path(resume)
    if found is None:
        logger.info("No checkpoint was made in %s yet: the training starts at step 0.", run_dir)
        return None
    if (found / PROGRESS_FILE).is_file():
        return found
    fix = "Set train.resume to false, or to an existing checkpoints/epoch_N folder."
    raise UnknownNameError.of("no_checkpoint", f"No checkpoint to resume in {found}.", fix, path="train.resume")


def write_identity(folder: Path, identity: Identity) -> None:
    """Record in a checkpoint what its training was fed with."""
    (folder / IDENTITY_FILE).write_text(json.dumps(identity, indent=1), encoding="utf-8")


def require_same(folder: Path | None, identity: Identity) -> None:
    """Raise BlockedError, which names every difference, when a checkpoint is of other data or another order."""
    if folder is not None and (problems := changes(folder, identity)):
        raise BlockedError(problems)


def changes(folder: Path, identity: Identity, unknown: Collection[str] = ()) -> list[Problem]:
    """Return every difference between what a checkpoint's training was fed with and `identity`.

    Args:
        folder: the checkpoint.
        identity: of the training that is to go on from it.
        unknown: names that `identity` cannot tell here; they are not compared.

    Raises:
        BlockedError: the checkpoint does not tell.

    """
    try:
        before = json.loads((folder / IDENTITY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{folder / IDENTITY_FILE} does not tell what the training was fed with: {error}"
        fix = f"Resume from a complete checkpoint, or {START_ANEW}"
        raise BlockedError.of("checkpoint_broken", message, fix, path="train.resume") from None
    now = json.loads(json.dumps(identity))
    names = [name for name in {**before, **now} if name not in unknown and before.get(name) != now.get(name)]
    return [_changed(folder, name, before.get(name), now.get(name)) for name in names]


def digest(documents: Iterable[Any]) -> str:
    """Return a hash of JSON documents and their order, short enough to be read."""
    found = hashlib.sha256()
    for document in documents:
        found.update(json.dumps(document, sort_keys=True).encode())
        found.update(b"\n")
    return found.hexdigest()[:DIGEST_LENGTH]


def _changed(folder: Path, name: str, before: Any, now: Any) -> Problem:
    is_path = SPEC_PATH.fullmatch(name) is not None
    cure = f"Set it back: --set {name}={json.dumps(before)}" if is_path else f"Give {name} back as it was"
    return Problem(
        code="resume_changed",
        message=f"{name} was {json.dumps(before)} when {folder} was written, and is {json.dumps(now)} now.",
        fix=f"{cure}; or {START_ANEW}",
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
