"""Attention without a mask, by the fastest kernel that is installed.

FlashAttention-4 (the package `flash-attn-4`) where it can run, else whatever kernel torch picks, which is cuDNN's on
Hopper. FlashAttention-4 is wrapped into operators of our own, so that compiled blocks and selective checkpointing see
one node whose results they may keep.
"""

import functools
import importlib
from importlib import util
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

FLASH_DTYPES = (torch.bfloat16, torch.float16)
FLASH_CAPABILITIES = (9, 10)  # Hopper, Blackwell
MAX_FLASH_HEAD_DIM = 128


def attend(query: Tensor, key: Tensor, value: Tensor, *, flash: bool) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v of tensors (batch, tokens, heads, d)."""
    if flash:
        out: Tensor = flash_forward(query, key, value)[0]
        return out
    query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def flash_fits(tensor: Tensor, head_dim: int) -> bool:
    """Return whether FlashAttention-4 is installed and takes tensors of this kind."""
    fits = tensor.is_cuda and tensor.dtype in FLASH_DTYPES and head_dim <= MAX_FLASH_HEAD_DIM and head_dim % 8 == 0
    return fits and _flash_runs_on(tensor.device)


@functools.cache
def _flash_runs_on(device: torch.device) -> bool:
    if util.find_spec("flash_attn") is None or util.find_spec("flash_attn.cute") is None:
        return False
    return torch.cuda.get_device_capability(device)[0] in FLASH_CAPABILITIES


@functools.cache
def _flash_interface() -> Any:
    return importlib.import_module("flash_attn.cute.interface")


@torch.library.custom_op("tao_skill_bank::flash_forward", mutates_args=())
def flash_forward(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return the attention's output (batch, tokens, heads, d) and the log of its normaliser (batch, heads, tokens)."""
    out, normaliser = _flash_interface()._flash_attn_fwd(query, key, value, return_lse=True)[:2]
    return out, normaliser


@torch.library.custom_op("tao_skill_bank::flash_backward", mutates_args=())
def flash_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, normaliser: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value."""
    grads = _flash_interface()._flash_attn_bwd(query, key, value, out, grad.contiguous(), normaliser)
    return grads[0], grads[1], grads[2]


@flash_forward.register_fake
def _(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG001 - the operator's signature
    batch, tokens, heads, _ = query.shape
    out = query.new_empty((*query.shape[:-1], value.shape[-1]))
    return out, query.new_empty((batch, heads, tokens), dtype=torch.float32)


@flash_backward.register_fake
def _(
    grad: Tensor,  # noqa: ARG001 - the operator's signature
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,  # noqa: ARG001
    normaliser: Tensor,  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor]:
    return query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape)


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output)


def _backward(
    ctx: torch.autograd.function.FunctionCtx, grad: Tensor, _: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    grads: tuple[Tensor, Tensor, Tensor] = flash_backward(grad, *ctx.saved_tensors)  # type: ignore[attr-defined]
    return grads


torch.library.register_autograd("tao_skill_bank::flash_forward", _backward, setup_context=_keep)
