"""Collects activation statistics of the layers to quantize: inputs, keys and values over calibration samples."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason.quantization import scheme


@dataclass(frozen=True)
class Inputs:
    """A linear layer's inputs: per channel the largest magnitude and the mean square, float32 of shape (in,)."""

    largest: torch.Tensor
    mean_square: torch.Tensor
    num_tokens: int

    def divided(self, factors: torch.Tensor) -> "Inputs":
        """Return the statistics after dividing every channel by its factor."""
        return replace(self, largest=self.largest / factors, mean_square=self.mean_square / factors.square())


@dataclass(frozen=True)
class Activations:
    """By module name: inputs of linear layers, and the largest magnitude of an attention's keys and values."""

    inputs: dict[str, Inputs] = field(default_factory=dict)
    keys: dict[str, torch.Tensor] = field(default_factory=dict)
    values: dict[str, torch.Tensor] = field(default_factory=dict)


@contextmanager
def observe(network: nn.Module) -> Iterator[Activations]:
    """Observe every forward pass inside the block, with quantization disabled.

    Every token counts, so batches must not contain padding.

    Raises:
        BlockedError: at the end, when an activation was not finite.

    """
    from compressed_tensors.modeling import register_key_hook, register_value_hook
    from compressed_tensors.quantization import disable_quantization, enable_quantization

    seen = Activations()
    network.apply(disable_quantization)
    with ExitStack() as hooks:
        for name, layer in scheme.quantized_layers(network).items():
            hooks.callback(layer.register_forward_pre_hook(_watch_inputs(seen.inputs, name)).remove)
        for name, attention in scheme.cached_attentions(network).items():
            hooks.callback(register_key_hook(attention, _watch_largest(seen.keys, name)).remove)
            hooks.callback(register_value_hook(attention, _watch_largest(seen.values, name)).remove)
        yield seen
    network.apply(enable_quantization)
    _require_finite(seen)


def _watch_inputs(seen: dict[str, Inputs], name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def watch(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        tokens = arguments[0].detach().float().flatten(0, -2)
        largest, mean_square, count = tokens.abs().amax(0), tokens.square().mean(0), len(tokens)
        if name in seen:
            before = seen[name]
            largest = torch.maximum(before.largest, largest)
            total = before.num_tokens + count
            mean_square = before.mean_square + (mean_square - before.mean_square) * (count / total)
            count = total
        seen[name] = Inputs(largest, mean_square, count)

    return watch


def _watch_largest(seen: dict[str, torch.Tensor], name: str) -> Callable[[nn.Module, torch.Tensor], None]:
    def watch(_: nn.Module, states: torch.Tensor) -> None:
        largest = states.detach().float().abs().amax()
        seen[name] = torch.maximum(seen[name], largest) if name in seen else largest

    return watch


def _require_finite(seen: Activations) -> None:
    found = {name: inputs.largest for name, inputs in seen.inputs.items()} | seen.keys | seen.values
    broken = [name for name, largest in found.items() if not bool(largest.isfinite().all())]
    if broken:
        message = f"The activations of {broken[0]} and {len(broken) - 1} more layers are not finite."
        raise BlockedError.of("activations_not_finite", message, "Check the checkpoint: it may have diverged.")
