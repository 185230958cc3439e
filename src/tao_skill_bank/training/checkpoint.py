"""Checkpoints of a run directory.

    checkpoints/epoch_N/   weights, optimizer state and progress, sharded; loads on any number of ranks
    safetensors/epoch_N/   what evaluate, PEFT and vLLM read
    best/                  the safetensors folder of the lowest validation loss, as hard links, with best_score.json

A folder is written under a hidden name and renamed when it is whole, so a folder that has its name is complete and a
kill leaves the previous ones usable.
"""

import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.optim import Optimizer

from tao_skill_bank.errors import RequestError, UnknownNameError
from tao_skill_bank.training.distributed import Ranks

EPOCH_FOLDER = re.compile(r"epoch_(\d+)")
METRIC = "val/avg_loss"
# Frozen weights come from the base model; only what is trained is saved.
TRAINED_ONLY = StateDictOptions(ignore_frozen_params=True, strict=False)


@dataclass(frozen=True)
class Progress:
    """Whole epochs and optimizer steps that are done. The learning rate follows from the step."""

    epoch: int = 0
    step: int = 0


@dataclass(frozen=True)
class Trained:
    """What a checkpoint holds: trained weights, the optimizer's state, and more tensors by name, updated in place."""

    model: nn.Module
    optimizer: Optimizer
    extra: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        weights, moments = get_state_dict(self.model, self.optimizer, options=TRAINED_ONLY)
        return {"model": weights, "optimizer": moments, **({"extra": dict(self.extra)} if self.extra else {})}


def save(run_dir: Path, trained: Trained, progress: Progress, ranks: Ranks) -> Path:
    """Write checkpoints/epoch_N and return it. Every rank calls this."""

    def write(folder: Path) -> None:
        state_dict_saver.save(trained.state(), checkpoint_id=str(folder))
        torch.save(_random_state(ranks), folder / f"random_{ranks.rank}.pt")
        if ranks.is_main:
            (folder / "progress.json").write_text(json.dumps(asdict(progress)), encoding="utf-8")

    return write_whole(run_dir / "checkpoints" / f"epoch_{progress.epoch}", write, ranks)


def load(folder: Path, trained: Trained, ranks: Ranks) -> Progress:
    """Load a folder of `save`, on any number of ranks. Random states are restored where the number is the same."""
    state = trained.state()
    state_dict_loader.load(state, checkpoint_id=str(folder))
    set_state_dict(
        trained.model,
        trained.optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
        options=TRAINED_ONLY,
    )
    if len(list(folder.glob("random_*.pt"))) == ranks.world:
        _restore_random_state(torch.load(folder / f"random_{ranks.rank}.pt", weights_only=True), ranks)
    return progress_of(folder)


def find_resume(run_dir: Path, resume: bool | str) -> Path | None:
    """Return the checkpoint folder that train.resume names; None for a fresh start.

    Raises:
        UnknownNameError: there is no complete checkpoint where one was asked for.

    """
    if resume is False:
        return None
    found = newest(run_dir / "checkpoints") if resume is True else Path(resume)
    if found is not None and (found / "progress.json").is_file():
        return found
    where = found or run_dir / "checkpoints"
    fix = "Set train.resume to false, or to an existing checkpoints/epoch_N folder."
    raise UnknownNameError.of("no_checkpoint", f"No checkpoint to resume in {where}.", fix, path="train.resume")


def resume_from(run_dir: Path, resume: bool | str, num_epochs: int, ranks: Ranks) -> Path | None:
    """Return the checkpoint to go on from, after finishing what a killed run left of best/.

    Raises:
        UnknownNameError: there is no complete checkpoint where one was asked for.
        RequestError: it has all the epochs that are asked for.
    """
    if ranks.is_main:
        recover_best(run_dir)
    folder = find_resume(run_dir, resume)
    done = progress_of(folder).epoch if folder else 0
    if folder and done >= num_epochs:
        message = f"There is nothing to train: {folder} is at epoch {done}, and train.epoch is {num_epochs}."
        fix = f"Set train.epoch above {done}, or train.resume to false."
        raise RequestError.of("nothing_to_train", message, fix, path="train.epoch", got=num_epochs)
    return folder


def keep(run_dir: Path, epoch: int, loss: float | None, max_keep: int) -> None:
    """Make an exported epoch the best one when its validation loss is the lowest, then delete old epochs."""
    exported = run_dir / "safetensors" / f"epoch_{epoch}"
    if loss is not None and exported.is_dir() and is_best(run_dir, loss):
        keep_best(run_dir, exported, loss)
    prune(run_dir, max_keep)


def progress_of(folder: Path) -> Progress:
    """Return how far the training was when it wrote a checkpoint folder."""
    return Progress(**json.loads((folder / "progress.json").read_text(encoding="utf-8")))


def newest(folder: Path) -> Path | None:
    """Return the epoch_N folder with the largest N."""
    epochs = _epochs(folder)
    return epochs[max(epochs)] if epochs else None


def write_whole(target: Path, write: Callable[[Path], None], ranks: Ranks) -> Path:
    """Have every rank write into a hidden folder beside `target`, then rename it."""
    work = target.parent / f".{target.name}"
    if ranks.is_main:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    ranks.barrier()
    write(work)
    ranks.barrier()
    if ranks.is_main:
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    ranks.barrier()
    return target


def best_score(run_dir: Path) -> float | None:
    """Return the lowest validation loss so far, as best/ holds it."""
    path = run_dir / "best" / "best_score.json"
    return float(json.loads(path.read_text(encoding="utf-8"))["best_score"]) if path.is_file() else None


def is_best(run_dir: Path, score: float) -> bool:
    """Tell whether a validation loss is a number, and lower than any before."""
    lowest = best_score(run_dir)
    return math.isfinite(score) and (lowest is None or not lowest <= score)


def keep_best(run_dir: Path, exported: Path, score: float) -> None:
    """Make best/ a copy of `exported`. Files are hard-linked: no time, no space, and no link that can dangle."""
    recover_best(run_dir)
    work = run_dir / ".best"
    shutil.copytree(exported, work, copy_function=_link)
    document = {"best_score": score, "metric": METRIC, "best_ckpt_abs_dir": str(exported.absolute())}
    unfinished = run_dir / ".best_score.json"
    unfinished.write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")
    unfinished.replace(work / "best_score.json")  # comes last: with it the folder is whole
    recover_best(run_dir)


def recover_best(run_dir: Path) -> None:
    """Finish what a `keep_best` began: a whole .best becomes best/; else the best/ that was moved comes back."""
    work, best, old = (run_dir / name for name in (".best", "best", ".best.old"))
    if (work / "best_score.json").is_file():
        if best.exists():
            shutil.rmtree(old, ignore_errors=True)
            best.rename(old)
        work.rename(best)
    elif old.exists() and not best.exists():
        old.rename(best)
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def prune(run_dir: Path, max_keep: int) -> None:
    """Delete all but the newest `max_keep` epochs (-1 keeps all), never the newest nor the best."""
    if max_keep < 0:
        return
    best = _best_epoch(run_dir)
    for kind in ("checkpoints", "safetensors"):
        epochs = _epochs(run_dir / kind)
        kept = set(sorted(epochs)[-max(1, max_keep) :]) | {best}
        for epoch, folder in epochs.items():
            if epoch not in kept:
                shutil.rmtree(folder)


def _epochs(folder: Path) -> dict[int, Path]:
    found = {path: EPOCH_FOLDER.fullmatch(path.name) for path in folder.glob("epoch_*")}
    return {int(match.group(1)): path for path, match in found.items() if match}


def _best_epoch(run_dir: Path) -> int | None:
    path = run_dir / "best" / "best_score.json"
    if not path.is_file():
        return None
    match = EPOCH_FOLDER.fullmatch(Path(json.loads(path.read_text(encoding="utf-8"))["best_ckpt_abs_dir"]).name)
    return int(match.group(1)) if match else None


def _link(source: str, target: str) -> str:
    try:
        Path(target).hardlink_to(source)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
    return target


def _random_state(ranks: Ranks) -> dict[str, Any]:
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if ranks.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(ranks.device)
    return state


def _restore_random_state(state: dict[str, Any], ranks: Ranks) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and ranks.device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], ranks.device)
