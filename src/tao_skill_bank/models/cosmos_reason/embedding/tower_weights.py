"""The weights of the vision tower alone: a fraction of the checkpoint is read, and held in memory."""

from pathlib import Path
from typing import Any

import torch

from tao_skill_bank.models.cosmos_reason import model, sharded_weights
from tao_skill_bank.models.cosmos_reason.config import EmbedConfig
from tao_skill_bank.models.cosmos_reason.embedding.tower_adapters import PART, is_changed_by
from tao_skill_bank.training.distributed import Ranks


def load(config: EmbedConfig, folder: Path, dtype: torch.dtype, ranks: Ranks) -> Any:
    """Return the tower on this rank's device; with an adapter that changes it, cut out of the merged model.

    Raises:
        BlockedError: the weights are missing or do not fit the config.

    """
    chosen = config.model
    if chosen.enable_lora and is_changed_by(Path(chosen.model_name)):
        merged, _ = model.load_merged(chosen.model_name, base=chosen.base_model_path, dtype=dtype, ranks=ranks)
        return merged.model.visual
    if not sharded_weights.has_part(folder, PART):
        return model.load_merged(str(folder), base=None, dtype=dtype, ranks=ranks)[0].model.visual
    whole = sharded_weights.skeleton(folder, dtype)
    sharded_weights.forget(whole, folder)
    sharded_weights.fill(whole, folder, ranks.device, only=whole.model.visual)
    return whole.model.visual
