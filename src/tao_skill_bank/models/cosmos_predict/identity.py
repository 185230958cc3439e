"""The data fingerprint that checkpoints record: a resumed training must have the same."""

from collections.abc import Sequence
from typing import Any

from tao_skill_bank.models.cosmos_predict.batches import Item
from tao_skill_bank.models.cosmos_predict.config import TrainConfig
from tao_skill_bank.training.resume import digest


def of(config: TrainConfig, items: Sequence[Item], world: int) -> dict[str, Any]:
    """Return what determines the clips of every step. The number of ranks may change if a step's clips do not."""
    settings, dataset = config.train, config.dataset
    clips = [(item.index, item.name, item.caption, item.num_frames, item.size) for item in items]
    return {
        "the number of training clips": len(items),
        "the names, captions, lengths and sizes of the training clips (sha256)": digest(clips),
        "train.seed": settings.seed,
        "train.batch_size": settings.batch_size,
        "train.gradient_accumulation_steps x ranks": settings.gradient_accumulation_steps * world,
        "dataset.num_frames": dataset.num_frames,
        "the windows kept of a clip (dataset.windows_per_clip with cache_latents)": (
            dataset.windows_per_clip if dataset.cache_latents else 0
        ),
    }
