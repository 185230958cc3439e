"""A fast forward pass over the parameters of transformers' Qwen3-VL vision tower.

Same parameters, same function. Differences: frames of one size are batched for attention, patches are embedded by a
linear layer (a 3-D convolution of that stride is slow), position tables are computed once per frame size and kept on
the GPU, and the host never waits for the GPU.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tao_skill_bank.models.cosmos_reason.blocks import Execution, Runners, bind, rotate
from tao_skill_bank.models.cosmos_reason.positions import Grid, frame_layout
from tao_skill_bank.training.adapted_linear import Linear, LinearReader, apply
from tao_skill_bank.training.attention import Segments, attend_within

NORM_EPSILON = 1e-6


class Block(NamedTuple):
    """The tensors of one vision block; norms are (weight, bias)."""

    norm1: tuple[Tensor, Tensor]
    qkv: Linear
    out: Linear
    norm2: tuple[Tensor, Tensor]
    feed_in: Linear
    feed_out: Linear


class Conditions(NamedTuple):
    """Inputs of every block besides the patches: rotary tables (patches, 1, head size / 2) and frames as segments."""

    cos: Tensor
    sin: Tensor
    frames: Segments
    heads: int


class VisionTower:
    """Computes features of patches; its parameters are those of `visual`."""

    def __init__(self, visual: Any, execution: Execution) -> None:
        self.visual = visual
        self._reader = LinearReader()
        self._runners = Runners(_run_block, execution, len(visual.blocks))
        self._tables: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = {}
        for index, block in enumerate(visual.blocks):
            bind(block, functools.partial(self._run_block, index))

    @property
    def levels(self) -> int:
        """Features per vision token: the merged output, and one for each of the first decoder layers."""
        return 1 + len(self.visual.deepstack_merger_list)

    def encode(self, patches: Tensor, grids: Sequence[Grid], *, deep: bool = True) -> Tensor:
        """Return features (vision tokens, levels, hidden).

        Args:
            patches: normalized, (patches, values), on the GPU.
            grids: of the media that they belong to.
            deep: all levels; else the merged output is the only one.

        """
        visual = self.visual
        frames = [(rows, columns) for time, rows, columns in grids for _ in range(time)]
        corners, weights, angles = self._tables_of(frames, patches.device)
        projection = visual.patch_embed.proj
        hidden = F.linear(patches.to(projection.weight.dtype), projection.weight.flatten(1), projection.bias)
        learned = F.embedding(corners, visual.pos_embed.weight)
        hidden = hidden + (learned * weights[..., None].to(learned.dtype)).sum(1)
        conditions = Conditions(
            angles.cos()[:, None], angles.sin()[:, None], _segments(frames, patches.device), visual.config.num_heads
        )
        if torch.is_grad_enabled():
            hidden.requires_grad_()  # so that the first block shares the compiled code of the others
        levels: list[Tensor] = []
        for index, block in enumerate(visual.blocks):
            hidden = block(hidden, conditions)
            if deep and index in visual.deepstack_visual_indexes:
                levels.append(visual.deepstack_merger_list[len(levels)](hidden))
        return torch.stack([visual.merger(hidden), *levels], dim=1)

    def _run_block(self, index: int, block: Any, hidden: Tensor, conditions: Conditions) -> Tensor:
        read, norm1, norm2 = self._reader.read, block.norm1, block.norm2
        tensors = Block(
            (norm1.weight, norm1.bias),
            read(block.attn.qkv),
            read(block.attn.proj),
            (norm2.weight, norm2.bias),
            read(block.mlp.linear_fc1),
            read(block.mlp.linear_fc2),
        )
        return self._runners.of(index)(hidden, tensors, conditions)

    def _tables_of(self, frames: Sequence[tuple[int, int]], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return corners, weights and rotary angles of the patches of these frames."""
        found = [self._frame_tables(frame, device) for frame in frames]
        corners, weights, angles = (torch.cat(parts) for parts in zip(*found, strict=True))
        return corners, weights, angles

    def _frame_tables(self, frame: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        if frame not in self._tables:
            visual = self.visual
            side = round(visual.config.num_position_embeddings**0.5)
            layout = frame_layout(*frame, visual.config.spatial_merge_size, side)
            with torch.inference_mode(mode=False), torch.no_grad():  # cached, so usable in training calls
                frequencies = visual.rotary_pos_emb.inv_freq.to(device, torch.float32)
                places = layout.places.to(device)
                angles = (places[..., None] * frequencies).flatten(1)  # rows' angles, then columns'
                self._tables[frame] = (layout.corners.to(device), layout.weights.to(device), angles)
        return self._tables[frame]


def _segments(frames: Sequence[tuple[int, int]], device: torch.device) -> Segments:
    lengths = tuple(rows * columns for rows, columns in frames)
    boundaries = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return Segments.of(lengths, boundaries.to(device, non_blocking=True))


def _run_block(hidden: Tensor, block: Block, conditions: Conditions) -> Tensor:
    """Run one block on patches (patches, features)."""
    width = hidden.shape[-1]
    normed = F.layer_norm(hidden, (width,), *block.norm1, NORM_EPSILON)
    query, key, value = apply(block.qkv, normed).view(len(hidden), 3, conditions.heads, -1).unbind(1)
    query, key = (rotate(heads, conditions.cos, conditions.sin) for heads in (query, key))
    attended = attend_within(query, key, value, conditions.frames, flash=False, causal=False)
    hidden = hidden + apply(block.out, attended.reshape(hidden.shape))
    normed = F.layer_norm(hidden, (width,), *block.norm2, NORM_EPSILON)
    return hidden + apply(block.feed_out, F.gelu(apply(block.feed_in, normed), approximate="tanh"))
