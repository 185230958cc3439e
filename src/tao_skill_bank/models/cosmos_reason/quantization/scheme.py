"""Translates a scheme of the spec into a compressed-tensors configuration: which layers are quantized, and how.

Only the language model's linear layers are quantized. The vision tower and the head are not quantized, as in vLLM's
recipes for Qwen3-VL: they are a small share of the weights, and errors there cost the most.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from tao_skill_bank.core import json_reader
from tao_skill_bank.errors import BlockedError, MissingExtraError

LIBRARY = "compressed_tensors"
IGNORED = ("re:.*lm_head", "re:.*visual.*")
GROUP_SIZES = (128, 64, 32)  # supported by vLLM's kernels, largest first: fewer scales, smaller checkpoint
NVFP4_GROUP = 16


def require_library() -> None:
    """Raise MissingExtraError when compressed-tensors is not installed."""
    if find_spec(LIBRARY) is None:
        raise MissingExtraError.for_module(LIBRARY, "quantize")


def is_quantized(folder: Path) -> bool:
    """Return whether a checkpoint folder holds a quantized model."""
    return "quantization_config" in json_reader.read_object(folder / "config.json", "Download the checkpoint again.")


def apply(network: nn.Module, name: str, *, kv_fp8: bool) -> Any:
    """Attach the scheme and empty scales to every layer that `name` quantizes; nothing is quantized yet.

    Args:
        network: a Qwen3-VL.
        name: FP8_DYNAMIC, FP8, W8A8, W8A16, W4A16 or NVFP4.
        kv_fp8: store keys and values as float8, with one scale each per layer.

    Returns:
        The compressed_tensors.quantization.QuantizationConfig.

    Raises:
        BlockedError: the layers' widths do not divide into groups.

    """
    from compressed_tensors import quantization

    scheme = quantization.preset_name_to_scheme(name, ["Linear"])
    widths = {layer.in_features for layer in _language_layers(network)}
    if scheme.weights.strategy == "group":
        scheme.weights.group_size = _group_size(widths)
    elif scheme.weights.group_size == NVFP4_GROUP:
        _require_divisible(widths, NVFP4_GROUP)
    kv_arguments = {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True, "dynamic": False}
    config = quantization.QuantizationConfig(
        config_groups={"group_0": scheme},
        ignore=list(IGNORED),
        kv_cache_scheme=quantization.QuantizationArgs(**kv_arguments) if kv_fp8 else None,
    )
    quantization.apply_quantization_config(network, config, show_progress=False)
    return config


def quantized_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers that have a scheme, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and getattr(module, "quantization_scheme", None) is not None
    }


def cached_attentions(network: nn.Module) -> dict[str, Any]:
    """Return the attention modules whose keys and values have a scheme, by name."""
    return {name: module for name, module in network.named_modules() if hasattr(module, "k_scale")}


def needs_activations(network: nn.Module) -> bool:
    """Return whether any scale depends on activations: everything but the purely dynamic float schemes."""
    schemes: list[Any] = [layer.quantization_scheme for layer in quantized_layers(network).values()]
    only_dynamic = all(
        scheme.weights.type == "float" and scheme.input_activations and scheme.input_activations.dynamic is True
        for scheme in schemes
    )
    return not only_dynamic or bool(cached_attentions(network))


def _language_layers(network: Any) -> list[nn.Linear]:
    return [module for module in network.model.language_model.modules() if isinstance(module, nn.Linear)]


def _group_size(widths: set[int]) -> int:
    for size in GROUP_SIZES:
        if all(width % size == 0 for width in widths):
            return size
    _require_divisible(widths, GROUP_SIZES[-1])
    raise AssertionError


def _require_divisible(widths: set[int], size: int) -> None:
    odd = sorted(width for width in widths if width % size)
    if odd:
        message = f"Layers {', '.join(map(str, odd))} wide do not divide into groups of {size}."
        fix = "Use quantize.quantization_scheme=FP8_DYNAMIC, FP8 or W8A8, which have no groups."
        raise BlockedError.of("group_size", message, fix, path="quantize.quantization_scheme")
