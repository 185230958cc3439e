"""Scales of weights and activations, and the packing of weights.

Integer weights: round to nearest, with the scale of each group or row chosen among candidates for the least squared
error of the layer's output, that is with every column's error weighted by the mean square of its input. Float weights:
the largest magnitude, because a float's spacing follows its size and clipping gains little. GPTQ, which also
compensates earlier columns' errors in later ones, is not implemented: it needs a pass per layer with a Hessian of
width x width (600 MB for the widest layer of the 8B).

Scales are rounded to the type they are stored in before weights are rounded with them, and the rounding is done in
float32: dividing in bfloat16 would leave an int8 weight near 127 with an error of a half.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tao_skill_bank.models.cosmos_reason.quantization import scheme
from tao_skill_bank.models.cosmos_reason.quantization.activations import Activations, Inputs

CANDIDATES = tuple(1.05 - 0.05 * step for step in range(10))  # of the largest magnitude: 1.05, 1.0, ... 0.6
# Layers that inference engines fuse into one matrix product: they share per-tensor scales.
FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


@torch.no_grad()
def set_scales(network: nn.Module, activations: Activations) -> None:
    """Set all scales of a network prepared by `scheme.apply`.

    Args:
        network: its weights are read, not changed.
        activations: statistics of every quantized layer; may be empty if `scheme.needs_activations` is false.

    """
    layers: dict[str, Any] = dict(scheme.quantized_layers(network))
    ranges = _fused_ranges(layers)
    for name, layer in layers.items():
        weight_arguments = layer.quantization_scheme.weights
        if hasattr(layer, "weight_global_scale"):
            layer.weight_global_scale.copy_(_global_scale(ranges[name]))
        inputs = activations.inputs.get(name)
        layer.weight_scale.copy_(_weight_scale(layer, weight_arguments, inputs))
        if hasattr(layer, "input_scale") or hasattr(layer, "input_global_scale"):
            assert inputs is not None, name
            _set_input_scale(layer, inputs.largest.amax())
    for name, attention in scheme.cached_attentions(network).items():
        arguments = attention.quantization_scheme.input_activations
        attention.k_scale.copy_(_tensor_scale(activations.keys[name], arguments))
        attention.v_scale.copy_(_tensor_scale(activations.values[name], arguments))


def pack(network: nn.Module) -> None:
    """Replace the weights of every quantized layer by their packed form, in place."""
    from compressed_tensors.compressors import compress_module

    for layer in scheme.quantized_layers(network).values():
        stored = {name: parameter.dtype for name, parameter in layer.named_parameters(recurse=False)}
        for parameter in layer.parameters(recurse=False):
            parameter.data = parameter.data.float()
        compress_module(layer)
        for name, parameter in layer.named_parameters(recurse=False):
            if parameter.dtype == torch.float32:
                parameter.data = parameter.data.to(stored[name])


def _weight_scale(layer: Any, arguments: Any, inputs: Inputs | None) -> torch.Tensor:
    """Return the scale in the shape of `layer.weight_scale`: one per tensor, per row, or per row and group."""
    from compressed_tensors.quantization.utils import calculate_qparams

    weight = layer.weight.float()
    if arguments.strategy == "tensor":
        return _tensor_scale(weight.abs().amax(), arguments)
    size = arguments.group_size or weight.shape[1]
    largest = weight.unflatten(1, (-1, size)).abs().amax(-1)
    if arguments.type == "float":
        global_scale = getattr(layer, "weight_global_scale", None)
        scale: torch.Tensor = calculate_qparams(-largest, largest, arguments, global_scale=global_scale)[0]
        return scale
    importance = inputs.mean_square if inputs else torch.ones_like(weight[0])
    return _least_error(weight, importance, largest, (arguments, layer.weight_scale.dtype))


def _least_error(
    weight: torch.Tensor, importance: torch.Tensor, largest: torch.Tensor, form: tuple[Any, torch.dtype]
) -> torch.Tensor:
    from compressed_tensors.quantization import fake_quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    arguments, stored = form
    best = torch.zeros_like(largest)
    least = torch.full_like(largest, torch.inf)
    for share in CANDIDATES:
        scale = calculate_qparams(-largest * share, largest * share, arguments)[0].to(stored).float()
        rounded = fake_quantize(weight, scale, None, arguments)
        error = ((rounded - weight).square() * importance).unflatten(1, (largest.shape[1], -1)).sum(-1)
        best = torch.where(error < least, scale, best)
        least = torch.minimum(least, error)
    return best


def _set_input_scale(layer: Any, largest: torch.Tensor) -> None:
    if hasattr(layer, "input_global_scale"):
        layer.input_global_scale.copy_(_global_scale(largest))
    else:
        layer.input_scale.copy_(_tensor_scale(largest, layer.quantization_scheme.input_activations))


def _tensor_scale(largest: torch.Tensor, arguments: Any) -> torch.Tensor:
    from compressed_tensors.quantization.utils import calculate_qparams

    scale: torch.Tensor = calculate_qparams(-largest.reshape(1), largest.reshape(1), arguments)[0]
    return scale


def _global_scale(largest: torch.Tensor) -> torch.Tensor:
    from compressed_tensors.quantization.utils import generate_gparam

    scale: torch.Tensor = generate_gparam(-largest.reshape(1), largest.reshape(1))
    return scale


def _fused_ranges(layers: Mapping[str, nn.Linear]) -> dict[str, torch.Tensor]:
    """Return every layer's largest weight, or that of the layers it is fused with."""
    own = {name: layer.weight.float().abs().amax() for name, layer in layers.items()}
    shared = dict(own)
    for name in own:
        parent, _, leaf = name.rpartition(".")
        for group in FUSED:
            if leaf in group:
                shared[name] = torch.stack([own[f"{parent}.{other}"] for other in group]).amax()
    return shared
