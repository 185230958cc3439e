"""What makes a training of this skill need less memory, the smallest change first; see `training/fitting`."""

from collections.abc import Mapping
from typing import Any

from tao_skill_bank.core import nested
from tao_skill_bank.models.cosmos_predict.geometry import SIZE_MULTIPLE, nearest_num_frames
from tao_skill_bank.training.fitting import Ladders, Overrides, halved

FEWEST_FRAMES = 9
SHORTEST_SIDE = 128  # pixels
BATCH, ACCUMULATION = "train.batch_size", "train.gradient_accumulation_steps"
CHECKPOINTING, PRECISION = "train.gradient_checkpointing", "train.mixed_precision"


def of(action: str, spec: Mapping[str, Any]) -> Ladders:
    """Return the ladders of a training's spec; other actions are not sized."""
    if action != "train":
        return []
    changes = {CHECKPOINTING: "auto", PRECISION: "bf16"}
    simple = [[{path: value}] for path, value in changes.items() if nested.get(spec, path, value) != value]
    smallest = _batches(spec)[-1] if _batches(spec) else {}
    return [
        *simple,
        _batches(spec),
        [smallest | fewer for fewer in _frames(spec)],
        [smallest | smaller for smaller in _sizes(spec)],
    ]


def _batches(spec: Mapping[str, Any]) -> list[Overrides]:
    """Return smaller micro-batches that leave the clips per optimizer step as they are."""
    batch, accumulation = nested.get(spec, BATCH, 1), nested.get(spec, ACCUMULATION, 1)
    sizes = (size for size in halved(batch, 1) if batch % size == 0)
    return [{BATCH: size, ACCUMULATION: accumulation * batch // size} for size in sizes]


def _frames(spec: Mapping[str, Any]) -> list[Overrides]:
    given = nested.get(spec, "dataset.num_frames", 0)
    shares = (given * part // 4 for part in (3, 2, 1))
    fewer = [nearest_num_frames(share)[0] for share in shares]
    return [{"dataset.num_frames": frames} for frames in fewer if frames >= FEWEST_FRAMES]


def _sizes(spec: Mapping[str, Any]) -> list[Overrides]:
    sides = {path: nested.get(spec, path, 0) for path in ("dataset.height", "dataset.width")}
    found = []
    for part in (3, 2, 1):
        smaller = {path: side * part // 4 // SIZE_MULTIPLE * SIZE_MULTIPLE for path, side in sides.items()}
        if min(smaller.values()) >= SHORTEST_SIDE:
            found.append(smaller)
    return found
