"""The transformer that a train spec trains, built on the meta device from its config only."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from tao_skill_bank.models.cosmos_predict import adapters, memory
from tao_skill_bank.models.cosmos_predict.config.train import Lora


def facts(architecture: Mapping[str, Any], lora: Lora) -> dict[str, Any]:
    """Return `shape`, the fields of memory.Shape, and `targets`, the layers that each target of adapters matches."""
    from diffusers import CosmosTransformer3DModel

    with torch.device("meta"):
        build: Any = CosmosTransformer3DModel.from_config
        dit = build(architecture).requires_grad_(False)
        targets = adapters.matches(dit, list(lora.target_modules))
        if all(targets.values()):
            adapters.add(dit, lora)
    return {"shape": asdict(memory.shape_of(dit)), "targets": targets}
