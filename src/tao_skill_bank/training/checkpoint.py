"""Checkpoints of a run directory: what is in them, how they are read and written, and which ones are kept.

    checkpoints/epoch_N/   weights, optimizer state and progress, sharded; loads on any number of ranks
                           (`sharded_state` reads it, `checkpoint_contents` lists what is in it)
    checkpoints/step_N/    the same within an epoch, where a signal or its last step ended the training; the next epoch
                           replaces it
    safetensors/epoch_N/   what evaluate, PEFT and vLLM read; step_N at the end of a training within an epoch
    best/                  the safetensors folder with the best value of the model's metric, as hard links, with
                           best_score.json

A folder is written under a hidden name and renamed when it is complete, so a folder that has its name is complete and
a kill leaves the previous ones usable. `saver` decides when to write, `resume` finds the one to continue from.
"""

import json
import math
import pickle
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.optim import Optimizer

from tao_skill_bank.bank.training_facts import TrainingFacts
from tao_skill_bank.contracts import MonitoringMetric
from tao_skill_bank.core import json_reader, numbers, regular_files
from tao_skill_bank.core.admitted_pickle import RefusedPickleError
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.runs import checkpoint_folders, fencing
from tao_skill_bank.runs.checkpoint_folders import PROGRESS_FILE
from tao_skill_bank.training import sharded_state
from tao_skill_bank.training.distributed import Ranks

EPOCH_FOLDER = re.compile(r"epoch_(\d+)")
# Frozen weights come from the base model; only what is trained is saved.
TRAINED_ONLY = StateDictOptions(ignore_frozen_params=True, strict=False)
SHOWN = 3  # weights that a message names
REFUSED = re.compile(r"GLOBAL (\S+) (?:was not an allowed|whose module)")  # as torch.load(weights_only=True) names it


@dataclass(frozen=True)
class Progress:
    """Completed epochs and optimizer steps. Steps beyond the completed epochs belong to the current one.

    The learning rate and the position in the data follow from the step.
    """

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
        packed = tuple(f"{name}." for name, weight in self.model.named_parameters() if not weight.is_floating_point())
        if packed:  # their scales are not parameters, so `ignore_frozen_params` does not drop them
            weights = {name: tensor for name, tensor in weights.items() if not name.startswith(packed)}
        return {"model": weights, "optimizer": moments, **({"extra": dict(self.extra)} if self.extra else {})}


def write_progress(folder: Path, progress: Progress, ranks: Ranks) -> None:
    """Write what a checkpoint holds in addition to its tensors: its progress, and the random state of every rank."""
    torch.save(_random_state(ranks), folder / f"random_{ranks.rank}.pt")
    if ranks.is_main:
        (folder / PROGRESS_FILE).write_text(json.dumps(asdict(progress)), encoding="utf-8")


def load(folder: Path, trained: Trained, ranks: Ranks, facts: TrainingFacts) -> Progress:
    """Load a checkpoint, on any number of ranks. Random states are restored if their number is the same.

    Raises:
        BlockedError: it is damaged or asks to run code, or its weights are not those that this training trains.

    """
    state = trained.state()
    try:
        metadata = sharded_state.read_metadata(folder)
        require_same_weights(folder, sharded_state.shapes(metadata), state["model"], facts)
        sharded_state.load(state, folder, metadata)
        set_state_dict(
            trained.model,
            trained.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=TRAINED_ONLY,
        )
        if len(list(folder.glob("random_*.pt"))) == ranks.world:
            _restore_random_state(torch.load(folder / f"random_{ranks.rank}.pt", weights_only=True), ranks)
    except CheckpointException as error:
        raise broken(folder, next(iter(error.failures.values()))[0], facts) from None
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise broken(folder, error, facts) from None
    return progress_of(folder, facts)


def require_same_weights(
    folder: Path, saved: Mapping[str, tuple[int, ...]], weights: Mapping[str, torch.Tensor], facts: TrainingFacts
) -> None:
    """Raise BlockedError when a checkpoint's weights are not, by name and shape, those that are trained."""
    here = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    differing = sorted(name for name in {*saved, *here} if saved.get(name) != here.get(name))
    if not differing:
        return
    differences = [f"{name} is {_shape(saved.get(name))} there and {_shape(here.get(name))} here" for name in differing]
    more = f", and {len(differences) - SHOWN} more differ" if len(differences) > SHOWN else ""
    message = f"{folder} does not hold the weights that this training trains: {'; '.join(differences[:SHOWN])}{more}."
    fix = f"Use the model and adapter settings that it was trained with; or {facts.starts_again}"
    raise BlockedError.of("checkpoint_of_another_model", message, fix, path=facts.resume)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else "x".join(map(str, shape)) or "a number"


def broken(folder: Path, error: BaseException, facts: TrainingFacts) -> BlockedError:
    """Return the error of a checkpoint that cannot be read."""
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0]}" if lines else "one of its files is truncated"
    if isinstance(error, RefusedPickleError):
        reason = f"of its {sharded_state.METADATA_FILE}, {error}; nothing of it was run"
    elif isinstance(error, pickle.UnpicklingError):  # whose text is about torch.load
        refused = REFUSED.search(str(error))
        reason = f"it asks for {refused[1]}, which was not run" if refused else "one of its files is damaged"
    message = f"The checkpoint {folder} cannot be read: {reason.rstrip('.')}."
    others = [path for path in checkpoint_folders.all_in(folder.absolute().parent) if path != folder.absolute()]
    other = f"Resume from another one: --set {facts.resume}={others[-1]}" if others else "Copy it again"
    fix = f"{other}; or {facts.starts_again}"
    return BlockedError.of("checkpoint_broken", message, fix, path=facts.resume)


def keep(run_dir: Path, name: str, score: float | None, metric: MonitoringMetric) -> None:
    """Make an exported epoch the best one when its value of the metric is better than that of every earlier epoch."""
    exported = run_dir / "safetensors" / name
    if score is not None and exported.is_dir() and is_best(run_dir, score, metric):
        keep_best(run_dir, exported, score, metric)


def progress_of(folder: Path, facts: TrainingFacts) -> Progress:
    """Return how far the training was when it wrote a checkpoint folder."""
    try:
        progress = Progress(**json_reader.loads(regular_files.read_bytes(folder / PROGRESS_FILE)))
        if type(progress.epoch) is not int or type(progress.step) is not int:
            raise ValueError(f"{PROGRESS_FILE} does not say how far the training was")
        return progress
    except (OSError, ValueError, TypeError) as error:
        raise broken(folder, error, facts) from None


def write_whole(target: Path, write: Callable[[Path], None], ranks: Ranks) -> Path:
    """Have every rank write into a hidden folder next to `target`, then rename it."""
    work = begin(target, ranks)
    write(work)
    ranks.barrier()
    if ranks.is_main:
        publish(target)
    ranks.barrier()
    return target


def begin(target: Path, ranks: Ranks) -> Path:
    """Return the empty hidden folder in which `target` is written. Every rank calls this."""
    work = hidden(target)
    if ranks.is_main:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    ranks.barrier()
    return work


def publish(target: Path) -> None:
    """Give a complete hidden folder its name. Raises JobFailedError where another writer has started since."""
    fencing.require_current()
    shutil.rmtree(target, ignore_errors=True)
    hidden(target).rename(target)
    for number in range(1, fencing.number()):  # left by killed or superseded starts
        shutil.rmtree(hidden(target, number), ignore_errors=True)


def hidden(target: Path, number: int | None = None) -> Path:
    """Return where a start, this one by default, writes a folder until it is complete."""
    number = fencing.number() if number is None else number
    return target.parent / (f".{target.name}" if number < 2 else f".{target.name}.{number}")


def best_score(run_dir: Path) -> float | None:
    """Return the best value so far, as best/ holds it."""
    document = _best(run_dir)
    return float(document["best_score"]) if document else None


def is_best(run_dir: Path, score: float, metric: MonitoringMetric) -> bool:
    """Whether a value is a number, and better than any before; those of another metric are not compared."""
    best = _best(run_dir)
    if not math.isfinite(score):
        return False
    return best.get("metric") != metric.name or metric.is_better(score, float(best["best_score"]))


def keep_best(run_dir: Path, exported: Path, score: float, metric: MonitoringMetric) -> None:
    """Make best/ a copy of `exported`. Files are hard-linked: that is instant, takes no space, and cannot dangle."""
    fencing.require_current()
    recover_best(run_dir)
    work = run_dir / ".best"
    shutil.copytree(exported, work, copy_function=_link)
    document = {
        "best_score": score,
        "metric": metric.name,
        "direction": metric.direction,
        "best_ckpt_abs_dir": str(exported.absolute()),
    }
    unfinished = run_dir / ".best_score.json"
    unfinished.write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")
    unfinished.replace(work / "best_score.json")  # written last: it marks the folder as complete
    recover_best(run_dir)


def recover_best(run_dir: Path) -> None:
    """Finish an interrupted `keep_best`: a complete .best becomes best/; else the best/ that was moved is restored."""
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
    """Delete all but the newest `max_keep` epochs (-1 keeps all), never the newest nor the best.

    Checkpoints within an epoch are deleted once a later one is complete.
    """
    fencing.require_current()
    best_one = best_name(run_dir)
    earlier = checkpoint_folders.all_in(run_dir / "checkpoints")[:-1]
    for folder in [*earlier, *(run_dir / "safetensors" / path.name for path in earlier)]:
        if folder.is_dir() and not EPOCH_FOLDER.fullmatch(folder.name) and folder.name != best_one:
            shutil.rmtree(folder)
    if max_keep < 0:
        return
    best = best_epoch(run_dir)
    for kind in ("checkpoints", "safetensors"):
        epochs = _epochs(run_dir / kind)
        kept = set(sorted(epochs)[-max(1, max_keep) :]) | {best}
        for epoch, folder in epochs.items():
            if epoch not in kept:
                shutil.rmtree(folder)


def _epochs(folder: Path) -> dict[int, Path]:
    found = {path: EPOCH_FOLDER.fullmatch(path.name) for path in folder.glob("epoch_*")}
    return {int(match.group(1)): path for path, match in found.items() if match}


def best_name(run_dir: Path) -> str | None:
    """Return the name of the export whose weights best/ holds."""
    document = _best(run_dir)
    name = Path(document["best_ckpt_abs_dir"]).name if document else ""
    return name if checkpoint_folders.is_checkpoint_name(name) else None


def best_epoch(run_dir: Path) -> int | None:
    """Return the epoch whose weights best/ holds; None for the end of a training within an epoch."""
    match = EPOCH_FOLDER.fullmatch(best_name(run_dir) or "")
    return int(match.group(1)) if match else None


def _best(run_dir: Path) -> dict[str, Any]:
    """Return the content of best_score.json, empty where there is no best/."""
    path = run_dir / "best" / "best_score.json"
    if not path.is_file():
        return {}
    fix = f"Move {path.parent} out of the way: the best epoch from here on takes its place."
    found = json_reader.read_object(path, fix)
    if numbers.finite(found.get("best_score")) is None or not isinstance(found.get("best_ckpt_abs_dir"), str):
        raise BlockedError.of("best_broken", f"{path} names no score and no checkpoint.", fix, path=str(path))
    return found


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
