"""A fast forward pass over the parameters of transformers' Qwen3-VL text model, for packed sequences.

Same parameters, same function. Differences: several samples are packed into one sequence without padding and mask, the
layers are compiled as one function of their tensors, adapters run in the model's precision (adapted_linear.py), and
vision features are added at positions computed on the host.
"""

import functools
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tao_skill_bank.models.cosmos_reason.blocks import Execution, Runners, bind, rotate
from tao_skill_bank.training.adapted_linear import Linear, LinearReader, apply, apply_all
from tao_skill_bank.training.attention import Segments, attend_within, flash_fits


class Layer(NamedTuple):
    """The tensors of one decoder layer."""

    qkv: tuple[Linear, Linear, Linear]
    out: Linear
    gate_up: tuple[Linear, Linear]
    down: Linear
    norms: tuple[Tensor, Tensor]  # before attention and before the feed-forward part
    head_norms: tuple[Tensor, Tensor]  # of query and key


class Conditions(NamedTuple):
    """Inputs of every layer besides the tokens.

    Attributes:
        cos, sin: rotary tables (tokens, 1, head size / 2).
        samples: the packed samples as segments.
        head_dim, norm_epsilon: of the architecture.
        flash: whether FlashAttention-4 computes attention.

    """

    cos: Tensor
    sin: Tensor
    samples: Segments
    head_dim: int
    norm_epsilon: float
    flash: bool


class Decoder:
    """Computes hidden states of a packed sequence; its parameters are those of `language_model`."""

    def __init__(self, language_model: Any, execution: Execution) -> None:
        self.language_model = language_model
        self._reader = LinearReader(execution.float8)
        self._runners = Runners(_run_layer, execution, len(language_model.layers))
        for index, layer in enumerate(language_model.layers):
            bind(layer, functools.partial(self._run_layer, index))

    def embed(self, input_ids: Tensor) -> Tensor:
        """Return the embeddings (tokens, hidden) of token ids."""
        return F.embedding(input_ids, self.language_model.embed_tokens.weight)

    def decode(self, hidden: Tensor, positions: Tensor, samples: Segments, deep: tuple[Tensor, Tensor]) -> Tensor:
        """Return the last hidden states (tokens, hidden), before the final norm.

        Args:
            hidden: embeddings (tokens, hidden), vision features included.
            positions: rotary positions (3, tokens).
            samples: the packed samples.
            deep: places (vision tokens,) and features (vision tokens, layers, hidden) that are added after the first
                layers, one for each (DeepStack).

        """
        text = self.language_model
        cos, sin = rotary_tables(text.rotary_emb, positions)
        head_dim = text.layers[0].self_attn.head_dim
        flash = flash_fits(hidden, head_dim)
        conditions = Conditions(cos, sin, samples, head_dim, text.config.rms_norm_eps, flash)
        places, features = deep
        if torch.is_grad_enabled():
            hidden.requires_grad_()  # so that the first layer shares the compiled code of the others
        for index, layer in enumerate(text.layers):
            hidden = layer(hidden, conditions)
            if index < features.shape[1]:
                hidden = hidden.index_add(0, places, features[:, index].to(hidden.dtype))
        return hidden

    def norm(self, hidden: Tensor) -> Tensor:
        """Apply the final norm."""
        last = self.language_model.norm
        return F.rms_norm(hidden, last.weight.shape, last.weight, last.variance_epsilon)

    def _run_layer(self, index: int, layer: Any, hidden: Tensor, conditions: Conditions) -> Tensor:
        read, attention, feed = self._reader.read, layer.self_attn, layer.mlp
        tensors = Layer(
            qkv=(read(attention.q_proj), read(attention.k_proj), read(attention.v_proj)),
            out=read(attention.o_proj),
            gate_up=(read(feed.gate_proj), read(feed.up_proj)),
            down=read(feed.down_proj),
            norms=(layer.input_layernorm.weight, layer.post_attention_layernorm.weight),
            head_norms=(attention.q_norm.weight, attention.k_norm.weight),
        )
        return self._runners.of(index)(hidden, tensors, conditions)


def rotary_tables(rotary: Any, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return float32 cos and sin (tokens, 1, head size / 2) of rotary positions (3, tokens).

    Frequencies 0, 3, 6, ... rotate with time, 1, 4, ... with the row and 2, 5, ... with the column, up to the model's
    `mrope_section`; the rest rotates with time.
    """
    frequencies = rotary.inv_freq.to(positions.device, torch.float32)
    turning = torch.zeros(len(frequencies), dtype=torch.long)
    for axis, size in enumerate(rotary.mrope_section[1:], start=1):
        turning[axis : 3 * size : 3] = axis
    axes = F.one_hot(turning, 3).T.to(positions.device, torch.float32, non_blocking=True)
    angles = (positions.float().T @ axes) * frequencies
    scaling = rotary.attention_scaling
    return (angles.cos() * scaling)[:, None], (angles.sin() * scaling)[:, None]


def _run_layer(hidden: Tensor, layer: Layer, conditions: Conditions) -> Tensor:
    """Run one layer on tokens (tokens, features)."""
    normed = _normed(hidden, layer.norms[0], conditions)
    query, key, value = (_heads(out, conditions) for out in apply_all(layer.qkv, normed))
    query, key = (
        rotate(_normed(heads, weight, conditions), conditions.cos, conditions.sin)
        for heads, weight in zip((query, key), layer.head_norms, strict=True)
    )
    attended = attend_within(query, key, value, conditions.samples, flash=conditions.flash, causal=True)
    hidden = hidden + apply(layer.out, attended.flatten(1))
    gate, up = apply_all(layer.gate_up, _normed(hidden, layer.norms[1], conditions))
    return hidden + apply(layer.down, F.silu(gate) * up)


def _normed(tensor: Tensor, weight: Tensor, conditions: Conditions) -> Tensor:
    return F.rms_norm(tensor, weight.shape, weight, conditions.norm_epsilon)


def _heads(projected: Tensor, conditions: Conditions) -> Tensor:
    return projected.view(len(projected), -1, conditions.head_dim)
