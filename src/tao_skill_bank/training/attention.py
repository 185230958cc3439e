"""Attention within segments of a sequence, by the fastest kernel that is installed. No mask is ever built.

Segments of equal length are a batch for `scaled_dot_product_attention`. Segments of different lengths go through a
variable-length kernel: FlashAttention-4 (the package `flash-attn-4`) where it can run, else the FlashAttention that
torch includes; on other devices one by one. The kernels are wrapped into custom operators, so that compiled blocks and
selective checkpointing see one node whose results they may save.
"""

import functools
import importlib
import logging
from importlib import util
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

logger = logging.getLogger(__name__)
FLASH_DTYPES = (torch.bfloat16, torch.float16)
FLASH_CAPABILITIES = (9, 10)  # Hopper, Blackwell
MAX_FLASH_HEAD_DIM = 128


class Segments(NamedTuple):
    """How a sequence is divided.

    Attributes:
        boundaries: int32 (segments + 1,) on the tensors' device, where segments begin and end.
        longest: tokens of the longest segment.
        equal: number of segments when all have one length, else 0.

    """

    boundaries: Tensor
    longest: int
    equal: int

    @classmethod
    def of(cls, lengths: tuple[int, ...], boundaries: Tensor) -> "Segments":
        """Return segments of these lengths, which are known on the host."""
        return cls(boundaries, max(lengths), len(lengths) if len(set(lengths)) == 1 else 0)


def attend(query: Tensor, key: Tensor, value: Tensor, *, flash: bool) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v of tensors (batch, tokens, heads, d)."""
    return _attend_batch(query, key, value, flash=flash, causal=False)


def attend_within(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, *, flash: bool, causal: bool
) -> Tensor:
    """Return attention of tensors (tokens, heads, d), where no token attends to another segment.

    Key and value may have fewer heads than the query. With `causal` a token attends to itself and what precedes it in
    its segment; with `flash` FlashAttention-4 computes it.
    """
    if segments.equal:
        batched = (tensor.view(segments.equal, -1, *tensor.shape[1:]) for tensor in (query, key, value))
        return _attend_batch(*batched, flash=flash, causal=causal).flatten(0, 1)
    if flash or (query.is_cuda and query.dtype in FLASH_DTYPES):
        kernel = flash_forward if flash else packed_forward
        packed: Tensor = kernel(query, key, value, segments.boundaries, segments.longest, causal)[0]
        return packed
    lengths = segments.boundaries.diff().tolist()
    parts = zip(*(torch.split(tensor, lengths) for tensor in (query, key, value)), strict=True)
    outs = [_attend_batch(*(tensor[None] for tensor in part), flash=False, causal=causal)[0] for part in parts]
    return torch.cat(outs)


def _attend_batch(query: Tensor, key: Tensor, value: Tensor, *, flash: bool, causal: bool) -> Tensor:
    if flash:
        out: Tensor = flash_forward(query, key, value, None, 0, causal)[0]
        return out
    grouped = query.shape[2] != key.shape[2]
    query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
    attended = F.scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=grouped)
    return attended.transpose(1, 2)


def flash_fits(tensor: Tensor, head_dim: int) -> bool:
    """Return whether FlashAttention-4 is installed and supports tensors like this one."""
    fits = tensor.is_cuda and tensor.dtype in FLASH_DTYPES and head_dim <= MAX_FLASH_HEAD_DIM and head_dim % 8 == 0
    return fits and _flash_runs_on(tensor.device)


@functools.cache
def _flash_runs_on(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device)[0] in FLASH_CAPABILITIES and _flash_interface() is not None


@functools.cache
def _flash_interface() -> Any:
    """Return FlashAttention-4's functions, or None where they are not installed or cannot be imported."""
    if util.find_spec("flash_attn") is None:
        return None
    try:
        return importlib.import_module("flash_attn.cute.interface")
    except ImportError as error:
        logger.warning("FlashAttention-4 is installed but cannot be imported (%s): torch's kernels are used.", error)
        return None


@torch.library.custom_op("tao_skill_bank::flash_forward", mutates_args=())
def flash_forward(
    query: Tensor, key: Tensor, value: Tensor, boundaries: Tensor | None, longest: int, causal: bool
) -> tuple[Tensor, Tensor]:
    """Return the attention's output, like the query, and the log of its normaliser.

    Tensors are (batch, tokens, heads, d) without boundaries, (tokens, heads, d) with those of segments.
    """
    limits = _limits(boundaries, longest)
    out, normaliser = _flash_interface()._flash_attn_fwd(query, key, value, causal=causal, return_lse=True, **limits)[
        :2
    ]
    return out, normaliser


@torch.library.custom_op("tao_skill_bank::flash_backward", mutates_args=())
def flash_backward(grad: Tensor, kept: list[Tensor], longest: int, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value; `kept` is query, key, value, out, normaliser[, boundaries]."""
    query, key, value, out, normaliser = kept[:5]
    limits = _limits(kept[5] if len(kept) > 5 else None, longest)
    backward = _flash_interface()._flash_attn_bwd
    grads = backward(query, key, value, out, grad.contiguous(), normaliser, causal=causal, **limits)
    return grads[0], grads[1], grads[2]


def _limits(boundaries: Tensor | None, longest: int) -> dict[str, Any]:
    if boundaries is None:
        return {}
    return {
        "cu_seqlens_q": boundaries,
        "cu_seqlens_k": boundaries,
        "max_seqlen_q": longest,
        "max_seqlen_k": longest,
    }


@torch.library.custom_op("tao_skill_bank::packed_forward", mutates_args=())
def packed_forward(
    query: Tensor, key: Tensor, value: Tensor, boundaries: Tensor, longest: int, causal: bool
) -> tuple[Tensor, Tensor]:
    """Return the output (tokens, heads, d) and the log of its normaliser, by torch's own FlashAttention."""
    out, normaliser = torch.ops.aten._flash_attention_forward(
        query, key, value, boundaries, boundaries, longest, longest, 0.0, causal, False
    )[:2]
    return out, normaliser


@torch.library.custom_op("tao_skill_bank::packed_backward", mutates_args=())
def packed_backward(grad: Tensor, kept: list[Tensor], longest: int, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value; `kept` is query, key, value, out, normaliser, boundaries."""
    query, key, value, out, normaliser, boundaries = kept
    unused = torch.zeros(
        2, dtype=torch.uint64, device=query.device
    )  # random state of a dropout, of which there is none
    grads: tuple[Tensor, Tensor, Tensor] = torch.ops.aten._flash_attention_backward(
        grad.contiguous(),
        *(query, key, value, out, normaliser),
        *(boundaries, boundaries, longest, longest),
        *(0.0, causal, unused, unused),
    )
    return grads


def _fake_forward(
    query: Tensor,
    key: Tensor,  # noqa: ARG001 - the operator's signature
    value: Tensor,
    boundaries: Tensor | None,
    longest: int,  # noqa: ARG001
    causal: bool,  # noqa: ARG001
) -> tuple[Tensor, Tensor]:
    out = query.new_empty((*query.shape[:-1], value.shape[-1]))
    *batch, tokens, heads, _ = query.shape
    assert (boundaries is None) == bool(batch)
    return out, query.new_empty((*batch, heads, tokens), dtype=torch.float32)


def _fake_backward(grad: Tensor, kept: list[Tensor], longest: int, causal: bool) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG001
    query, key, value = (tensor.new_empty(tensor.shape) for tensor in kept[:3])
    return query, key, value


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, boundaries, ctx.longest, ctx.causal = inputs
    ctx.save_for_backward(query, key, value, *output, *([] if boundaries is None else [boundaries]))


def _differentiate(backward: Any, ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    return (*backward(grad, list(ctx.saved_tensors), ctx.longest, ctx.causal), None, None, None)


for _forward, _backward in ((flash_forward, flash_backward), (packed_forward, packed_backward)):
    _forward.register_fake(_fake_forward)
    _backward.register_fake(_fake_backward)
    _forward.register_autograd(functools.partial(_differentiate, _backward), setup_context=_keep)
