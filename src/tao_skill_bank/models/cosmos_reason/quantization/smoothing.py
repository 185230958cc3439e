"""SmoothQuant: moves outlier channels of activations into weights, without changing the model's function.

A norm's output channel j is divided by s_j, and column j of the linear layers that read it is multiplied by s_j, with
s_j = max|x_j|^strength / max|w_j|^(1 - strength) (Xiao et al. 2023, equation 4). Int8 activations share one scale per
token, so a single large channel would leave few of the 255 levels to the others.
"""

from typing import Any

import torch

from tao_skill_bank.models.cosmos_reason.quantization.activations import Activations

READERS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
SMALLEST = 1e-5


@torch.no_grad()
def smooth(network: Any, activations: Activations, strength: float) -> Activations:
    """Smooth every decoder layer in place and return the resulting activations. Strength 0 changes nothing."""
    inputs = dict(activations.inputs)
    if strength == 0:
        return activations
    for path, block in network.named_modules():
        if not all(hasattr(block, norm) for norm in READERS):
            continue
        for norm, readers in READERS.items():
            names = [f"{path}.{reader}" for reader in readers]
            layers = [block.get_submodule(reader) for reader in readers]
            columns = torch.stack([layer.weight.float().abs().amax(0) for layer in layers]).amax(0)
            factors = _factors(inputs[names[0]].largest, columns, strength)
            scaled = block.get_submodule(norm).weight
            scaled.copy_((scaled.float() / factors).to(scaled.dtype))
            for name, layer in zip(names, layers, strict=True):
                layer.weight.copy_((layer.weight.float() * factors).to(layer.weight.dtype))
                inputs[name] = inputs[name].divided(factors)
    return Activations(inputs, activations.keys, activations.values)


def _factors(largest: torch.Tensor, columns: torch.Tensor, strength: float) -> torch.Tensor:
    """Return s of shape (channels,); 1 for channels that are always zero or have zero weight."""
    factors = largest.clamp(min=SMALLEST) ** strength / columns.clamp(min=SMALLEST) ** (1 - strength)
    return torch.where((largest == 0) | (columns == 0), 1.0, factors)
