"""Frozen weights in 4 bits (NF4 with quantized scales, as in QLoRA) through bitsandbytes, and products with them.

The weight is dequantized for a product and freed at once, forward and backward, so that a step never holds more than
one. One custom operator does it: torch.compile sees the same one for every layer and saves only its inputs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from tao_skill_bank.errors import MissingExtraError

KIND = "nf4"
BITS = 4 + (8 + 32 / 256) / 64  # of a weight: blocks of 64 share an 8-bit scale, 256 scales share a float32
NAME = "tao_skill_bank::four_bit_product"


class FourBit(NamedTuple):
    """One packed weight.

    Attributes:
        packed: uint8, two weights in each.
        scales: 8-bit scales of the blocks, their own scales, their code, their offset, and the code of the weights.
        shape: of the weight, (out, in).
        blocks: weights that share a scale, scales that share a scale.

    """

    packed: Tensor
    scales: list[Tensor]
    shape: list[int]
    blocks: list[int]

    @classmethod
    def of(cls, layer: Any) -> "FourBit":
        """Return the weight of a bitsandbytes.nn.Linear4bit whose scales are quantized."""
        state = layer.weight.quant_state
        inner = state.state2
        scales = [state.absmax, inner.absmax, inner.code, state.offset, state.code]
        packed = layer.weight.data.as_subclass(Tensor)
        return cls(packed, scales, list(state.shape), [state.blocksize, inner.blocksize])

    def product(self, inputs: Tensor) -> Tensor:
        """Return x W^T (..., out) of inputs (..., in)."""
        out: Tensor = _forward(inputs, self.packed, self.scales, self.shape, self.blocks)
        return out

    def whole(self, dtype: torch.dtype) -> Tensor:
        """Return the weight (out, in)."""
        return _whole(self.packed, self.scales, self.shape, self.blocks, dtype)


def settings(compute_dtype: torch.dtype, unpacked: Sequence[str]) -> Any:
    """Return transformers' settings that load linear layers in 4 bits, except modules named in `unpacked`.

    Raises:
        MissingExtraError: bitsandbytes is not installed.

    """
    try:
        import bitsandbytes  # noqa: F401 - transformers' own message is less clear
    except ImportError:
        raise MissingExtraError.for_module("bitsandbytes", "qlora") from None
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=KIND,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
        llm_int8_skip_modules=list(unpacked),  # read for 4 bits too, despite its name
    )


def is_packed(layer: nn.Module) -> bool:
    """Return whether a layer is from bitsandbytes and its weight is packed as FourBit reads it."""
    kind = type(layer)
    if kind.__name__ != "Linear4bit" or not kind.__module__.startswith("bitsandbytes."):  # peft has one of that name
        return False
    state: Any = getattr(layer.weight, "quant_state", None)
    return state is not None and state.nested and state.quant_type == KIND


def _whole(packed: Tensor, scales: list[Tensor], shape: list[int], blocks: list[int], dtype: torch.dtype) -> Tensor:
    from bitsandbytes.functional import QuantState, dequantize_4bit

    scale, outer, outer_code, offset, code = scales
    inner = QuantState(outer, blocksize=blocks[1], code=outer_code, dtype=torch.float32)
    state = QuantState(scale, torch.Size(shape), code, blocks[0], KIND, dtype, offset, inner)
    whole: Tensor = dequantize_4bit(packed, state)
    return whole


@torch.library.custom_op(NAME, mutates_args=())
def _forward(inputs: Tensor, packed: Tensor, scales: list[Tensor], shape: list[int], blocks: list[int]) -> Tensor:
    return F.linear(inputs, _whole(packed, scales, shape, blocks, inputs.dtype))


@torch.library.custom_op(f"{NAME}_backward", mutates_args=())
def _backward(grad: Tensor, packed: Tensor, scales: list[Tensor], shape: list[int], blocks: list[int]) -> Tensor:
    return grad @ _whole(packed, scales, shape, blocks, grad.dtype)


@_forward.register_fake
def _(inputs: Tensor, packed: Tensor, scales: list[Tensor], shape: list[int], blocks: list[int]) -> Tensor:  # noqa: ARG001
    return inputs.new_empty((*inputs.shape[:-1], shape[0]))


@_backward.register_fake
def _(grad: Tensor, packed: Tensor, scales: list[Tensor], shape: list[int], blocks: list[int]) -> Tensor:  # noqa: ARG001
    return grad.new_empty((*grad.shape[:-1], shape[1]))


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, list[Tensor], list[int], list[int]], output: Tensor) -> None:  # noqa: ARG001
    _, packed, scales, ctx.shape, ctx.blocks = inputs
    ctx.save_for_backward(packed, *scales)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, list[None], None, None]:
    packed, *scales = ctx.saved_tensors
    wanted = _backward(grad, packed, scales, ctx.shape, ctx.blocks) if ctx.needs_input_grad[0] else None
    return wanted, None, [None] * len(scales), None, None


torch.library.register_autograd(NAME, _differentiate, setup_context=_keep)
