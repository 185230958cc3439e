"""Merges adapters into the base weights, always in float32.

Adapters are applied in sequence, as peft evaluates them: a LoRA adds its update, a DoRA adds its own and rescales
the result by m / |W + its update| of the *original* weight W. (peft's own merge takes the norm of the merged
weight, which gives other results when a DoRA is not the only adapter.)
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def fuse(dit: Any, names: Sequence[str]) -> None:
    """Merge adapters in order, at their current scales, and remove all adapters from `dit`."""
    for layer in dit.modules():
        if hasattr(layer, "lora_A"):
            weight = layer.get_base_layer().weight
            weight.copy_(_fused(layer, [name for name in names if name in layer.lora_A]))
    dit.unload_lora()


def _fused(layer: Any, names: Sequence[str]) -> Tensor:
    untouched: Tensor = layer.get_base_layer().weight.float()
    fused = untouched
    for name in names:
        update = layer.scaling[name] * (layer.lora_B[name].weight.float() @ layer.lora_A[name].weight.float())
        fused = fused + update
        if name in layer.lora_magnitude_vector:
            norms = (untouched + update).norm(dim=1, keepdim=True)
            fused = layer.lora_magnitude_vector[name].weight.float()[:, None] / norms * fused
    return fused
