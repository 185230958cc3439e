"""A fast forward pass over the parameters of diffusers' `CosmosTransformer3DModel`, for training and sampling.

Same parameters, same function; differences to diffusers' forward: the timestep's modulation is computed per
latent frame instead of per token, adapters run in the model's precision (adapted_linear.py), blocks can be compiled,
attention uses the fastest installed kernel (attention.py), and checkpointing keeps what is expensive to recompute.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from tao_skill_bank.errors import RequestError
from tao_skill_bank.training.adapted_linear import Linear, LinearReader, apply, apply_all
from tao_skill_bank.training.attention import attend, flash_fits

Checkpointing = Literal["none", "pointwise", "selective", "full"]
RECOMPILE_LIMIT = 64  # clip shapes times (training, sampling); torch's default of 8 would fall back to eager
MAX_GROUPS = 8  # of tokens in cross-attention: 1.2 ms against 1.7 for its backward pass at 31,104 tokens on an H100
NORM_EPSILON = 1e-6  # of the layer norms before each modulation


@dataclass(frozen=True)
class Execution:
    """How the blocks run.

    Attributes:
        checkpointing: what the backward pass recomputes of each block: nothing; all but attention and matrix products;
            all but self-attention; all. Each takes less memory and more time than the one before it.
        compile: whether torch.compile fuses the blocks; the first steps take about a minute more.

    """

    checkpointing: Checkpointing = "full"
    compile: bool = False


def project_context(dit: Any, hidden: Tensor) -> Tensor:
    """Return text features (batch, tokens, encoder features) projected to the context of `Denoiser`."""
    if not dit.config.use_crossattn_projection:
        return hidden
    weight = dit.crossattn_proj[0].weight
    projected: Tensor = dit.crossattn_proj(hidden.to(weight.dtype))
    return projected


class Block(NamedTuple):
    """The tensors of one transformer block."""

    qkv: tuple[Linear, Linear, Linear]
    out: Linear
    cross_query: Linear
    cross_key_value: tuple[Linear, Linear]
    cross_out: Linear
    feed_in: Linear
    feed_out: Linear
    norms: tuple[Tensor, Tensor, Tensor, Tensor]  # of query and key, then of the cross attention's


class Sizes(NamedTuple):
    """Sizes shared by all blocks."""

    heads: int
    norm_epsilon: float
    flash: bool


class Conditions(NamedTuple):
    """Inputs of every block besides the tokens.

    Attributes:
        modulation: shift, scale and gate, each (batch, frames, 1, features), of the block's three parts.
        context: (batch, text tokens, features).
        cos, sin: rotary tables (tokens, 1, head size / 2).

    """

    modulation: tuple[tuple[Tensor, ...], ...]
    context: Tensor
    cos: Tensor
    sin: Tensor


class Denoiser(nn.Module):
    """Predicts the velocity (noise - clean) of noisy latents; its only parameters are those of `dit`."""

    def __init__(self, dit: nn.Module, execution: Execution) -> None:
        super().__init__()
        _require_supported(dit)
        self.dit: Any = dit
        self.execution = execution
        self._reader = LinearReader()
        self._tables: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}
        self._plain_block = _compiled(_run_block) if execution.compile else _run_block
        self._training_block = _training_block(execution)

    def forward(self, noisy: Tensor, condition_mask: Tensor, sigmas: Tensor, context: Tensor) -> Tensor:
        """Return the velocity (B, C, T, H, W), in the precision of the weights.

        Args:
            noisy: latents (B, C, T, H, W), clean where conditioned.
            condition_mask: (B, 1, T, H, W), 1 on conditioned frames.
            sigmas: noise level of every latent frame (B, T).
            context: projected text features (B, L, F), see `project_context`.

        """
        dtype = self.dit.patch_embed.proj.weight.dtype
        tokens = self._embed(noisy, condition_mask, dtype)
        batch, frames, rows, columns, width = tokens.shape
        shift, embedding = self._embed_sigmas(tokens, sigmas)
        cos, sin = self._rotary_tables(noisy)
        hidden = tokens.reshape(batch, frames, rows * columns, width)
        attn = self.dit.transformer_blocks[0].attn1
        sizes = Sizes(attn.heads, attn.norm_q.eps, flash_fits(hidden, width // attn.heads))
        if torch.is_grad_enabled():
            hidden.requires_grad_()  # so that the first block shares the compiled code of the others
        run = self._training_block if torch.is_grad_enabled() else self._plain_block
        for block in self.dit.transformer_blocks:
            modulation = tuple(_modulation(norm, embedding, shift) for norm in (block.norm1, block.norm2, block.norm3))
            conditions = Conditions(modulation, context.to(dtype), cos, sin)
            hidden = run(hidden, self._read(block), conditions, sizes)
        shift_out, scale_out = _modulation(self.dit.norm_out, embedding, shift[..., : 2 * width])
        hidden = self.dit.proj_out(_modulated(hidden, shift_out, scale_out))
        return self._to_latents(hidden.reshape(batch, frames, rows, columns, -1))

    def _embed(self, noisy: Tensor, condition_mask: Tensor, dtype: torch.dtype) -> Tensor:
        """Return tokens (B, T, rows, columns, features) of the latents, their mask and an empty padding mask."""
        channels = [noisy.to(dtype), condition_mask.to(dtype)]
        if self.dit.config.concat_padding_mask:
            channels.append(torch.zeros_like(channels[1]))
        tokens: Tensor = self.dit.patch_embed(torch.cat(channels, dim=1))
        return tokens

    def _embed_sigmas(self, tokens: Tensor, sigmas: Tensor) -> tuple[Tensor, Tensor]:
        """Return the modulation that all blocks share (B, T, 1, 3 features) and the embedding (B, T, 1, features)."""
        shared, embedding = self.dit.time_embed(tokens, sigmas.flatten())
        return shared.reshape(*sigmas.shape, 1, -1), embedding.reshape(*sigmas.shape, 1, -1)

    def _rotary_tables(self, noisy: Tensor) -> tuple[Tensor, Tensor]:
        """Return cos and sin (tokens, 1, head size / 2) for latents of this shape; computed once."""
        key = (noisy.shape[2:], noisy.device)
        if key not in self._tables:
            with torch.inference_mode(mode=False), torch.no_grad():  # cached, so usable in training calls
                halves = (table.chunk(2, dim=-1)[0] for table in self.dit.rope(noisy, fps=None))
                cos, sin = (half.unsqueeze(1).contiguous() for half in halves)
            self._tables[key] = (cos, sin)
        return self._tables[key]

    def _read(self, block: Any) -> Block:
        read, attn, cross, feed = self._reader.read, block.attn1, block.attn2, block.ff.net
        return Block(
            qkv=(read(attn.to_q), read(attn.to_k), read(attn.to_v)),
            out=read(attn.to_out[0]),
            cross_query=read(cross.to_q),
            cross_key_value=(read(cross.to_k), read(cross.to_v)),
            cross_out=read(cross.to_out[0]),
            feed_in=read(feed[0].proj),
            feed_out=read(feed[2]),
            norms=(attn.norm_q.weight, attn.norm_k.weight, cross.norm_q.weight, cross.norm_k.weight),
        )

    def _to_latents(self, patches: Tensor) -> Tensor:
        """Assemble patches (B, T, rows, columns, p_h * p_w * C) into (B, C, T, H, W); channels are innermost."""
        batch, frames, rows, columns, _ = patches.shape
        _, high, wide = self.dit.config.patch_size
        split = patches.reshape(batch, frames, rows, columns, high, wide, -1)
        return split.permute(0, 6, 1, 2, 4, 3, 5).reshape(batch, -1, frames, rows * high, columns * wide)


def _require_supported(dit: Any) -> None:
    config = dit.config
    unsupported = {
        "extra_pos_embed_type": config.extra_pos_embed_type is not None,
        "img_context_dim_in": bool(config.img_context_dim_in),
        "patch_size": config.patch_size[0] != 1,
    }
    if names := [name for name, is_so in unsupported.items() if is_so]:
        message = f"This transformer's {', '.join(names)} is not what Cosmos-Predict 2.5 uses."
        fix = "Give a checkpoint of nvidia/Cosmos-Predict2.5, in the diffusers layout."
        raise RequestError.of("unsupported_transformer", message, fix, path="model.pretrained_model_name_or_path")


def _modulation(norm: Any, embedding: Tensor, shared: Tensor) -> tuple[Tensor, ...]:
    """Return shift, scale and, in blocks, gate of a norm: (batch, frames, 1, features) each."""
    own = norm.linear_2(norm.linear_1(F.silu(embedding)))
    return tuple((own + shared).chunk(own.shape[-1] // embedding.shape[-1], dim=-1))


def _modulated(hidden: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(hidden, hidden.shape[-1:], eps=NORM_EPSILON) * (1 + scale) + shift


def _run_block(hidden: Tensor, block: Block, conditions: Conditions, sizes: Sizes) -> Tensor:
    """Run one block on tokens (batch, frames, tokens per frame, features)."""
    (shift1, scale1, gate1), (shift2, scale2, gate2), (shift3, scale3, gate3) = conditions.modulation
    query, key, value = apply_all(block.qkv, _modulated(hidden, shift1, scale1))
    query = _rotate(_normed_heads(query, block.norms[0], sizes), conditions)
    key = _rotate(_normed_heads(key, block.norms[1], sizes), conditions)
    attended = attend(query, key, _heads(value, sizes), flash=sizes.flash)
    hidden = hidden + gate1 * apply(block.out, attended.reshape(hidden.shape))

    query = _normed_heads(apply(block.cross_query, _modulated(hidden, shift2, scale2)), block.norms[2], sizes)
    key, value = (out.unsqueeze(1) for out in apply_all(block.cross_key_value, conditions.context))
    key, value = _normed_heads(key, block.norms[3], sizes), _heads(value, sizes)
    attended = _attend_in_groups(query, key, value, math.gcd(hidden.shape[1], MAX_GROUPS))
    hidden = hidden + gate2 * apply(block.cross_out, attended.reshape(hidden.shape))

    inner = F.gelu(apply(block.feed_in, _modulated(hidden, shift3, scale3)))
    return hidden + gate3 * apply(block.feed_out, inner)


def _heads(projected: Tensor, sizes: Sizes) -> Tensor:
    """(batch, frames, tokens per frame, features) -> (batch, tokens, heads, head size)."""
    flat = projected.flatten(1, 2)
    return flat.view(*flat.shape[:-1], sizes.heads, -1)


def _normed_heads(projected: Tensor, weight: Tensor, sizes: Sizes) -> Tensor:
    return F.rms_norm(_heads(projected, sizes), weight.shape, weight, sizes.norm_epsilon)


def _rotate(heads: Tensor, conditions: Conditions) -> Tensor:
    """Rotate the pairs (i, i + half) of every head by the angle of the token's position; in float32 at least."""
    first, second = heads.chunk(2, dim=-1)
    cos, sin = conditions.cos, conditions.sin
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(heads.dtype)


def _attend_in_groups(query: Tensor, key: Tensor, value: Tensor, groups: int) -> Tensor:
    """Attend to the short text in groups of tokens: kernels parallelize the backward pass over keys, which are few."""
    grouped = query.reshape(query.shape[0] * groups, -1, *query.shape[2:])
    key, value = (text.repeat_interleave(groups, dim=0) for text in (key, value))
    return attend(grouped, key, value, flash=False)


BlockFunction = Callable[[Tensor, Block, Conditions, Sizes], Tensor]


def _training_block(execution: Execution) -> BlockFunction:
    """Return `_run_block` with the requested checkpointing and compilation."""
    policies = {"pointwise": _keep_products, "selective": _keep_self_attention, "full": None}
    run: BlockFunction = _run_block
    if execution.checkpointing != "none":
        run = functools.partial(_checkpointed, policies[execution.checkpointing])
    return _compiled(run) if execution.compile else run


def _checkpointed(
    policy: Callable[..., Any] | None, hidden: Tensor, block: Block, conditions: Conditions, sizes: Sizes
) -> Tensor:
    kept: dict[str, Any] = {}
    if policy is not None:
        kept["context_fn"] = functools.partial(create_selective_checkpoint_contexts, policy)
    out: Tensor = checkpoint(_run_block, hidden, block, conditions, sizes, use_reentrant=False, **kept)
    return out


def _compiled(run: BlockFunction) -> BlockFunction:
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
    # Gradients are reduced block by block anyway; torch's graph splitting for DDP may fail on checkpointed blocks.
    torch._dynamo.config.optimize_ddp = False
    compiled: BlockFunction = torch.compile(run, dynamic=False)
    return compiled


def _keep_self_attention(_context: Any, operator: Any, *args: Any, **_kwargs: Any) -> CheckpointPolicy:
    """Self-attention is 3/4 of a block's work; its output is as large as the block's input."""
    keep = operator in _attention_operators() and args[0].shape == args[1].shape
    return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE


def _keep_products(_context: Any, operator: Any, *_args: Any, **_kwargs: Any) -> CheckpointPolicy:
    keep = operator in _attention_operators() or operator in _product_operators()
    return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE


@functools.cache
def _attention_operators() -> frozenset[Any]:
    aten = torch.ops.aten
    return frozenset(
        (
            aten._scaled_dot_product_cudnn_attention.default,
            aten._scaled_dot_product_flash_attention.default,
            aten._scaled_dot_product_flash_attention_for_cpu.default,
            aten._scaled_dot_product_efficient_attention.default,
            torch.ops.tao_skill_bank.flash_forward.default,
        )
    )


@functools.cache
def _product_operators() -> frozenset[Any]:
    aten = torch.ops.aten
    return frozenset((aten.mm.default, aten.addmm.default, torch.ops.tao_skill_bank.adapted_products.default))
