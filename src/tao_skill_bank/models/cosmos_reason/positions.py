"""Positions of tokens and patches, computed on the host, so that the layout needs no GPU synchronization.

The text model's rotary position of a token is three numbers (time, row, column). Text counts all three up together;
the tokens of one temporal patch share the time and carry their row and column (Qwen2-VL's paper, section 2.1, and
transformers' `get_rope_index`, with which the tests compare it).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from tao_skill_bank.models.cosmos_reason.tokens import Geometry

Grid = tuple[int, int, int]
"""Temporal, vertical and horizontal patches of one video or image."""


class FrameLayout(NamedTuple):
    """The patches of one temporal patch, in the order of the vision tower.

    Attributes:
        places: int64 (patches, 2), row and column, for the rotary tables.
        corners: int64 (patches, 4), entries of the learned position grid around each patch.
        weights: float32 (patches, 4), of those entries.

    """

    places: Tensor
    corners: Tensor
    weights: Tensor


def token_positions(token_types: Tensor, grids: Sequence[Grid], geometry: Geometry) -> Tensor:
    """Return int64 rotary positions (3, length) of one sequence.

    Args:
        token_types: (length,), 0 for text; the pads of every temporal patch form a separate run.
        grids: of the sequence's media, in the order of their pads.
        geometry: patch sizes of the vision tower.

    """
    frames = iter([(rows, columns) for time, rows, columns in grids for _ in range(time)])
    merge = geometry.merge_size
    parts, position = [], 0
    for is_media, length in _runs(token_types):
        if is_media:
            rows, columns = (size // merge for size in next(frames))
            row, column = _grid_positions(rows, columns)
            parts.append(torch.stack([torch.zeros_like(row), row, column]) + position)
            position += max(rows, columns)
        else:
            parts.append((torch.arange(length) + position).expand(3, -1))
            position += length
    return torch.cat(parts, dim=1)


@lru_cache(maxsize=64)
def frame_layout(rows: int, columns: int, merge: int, side: int) -> FrameLayout:
    """Return the layout of a temporal patch of rows x columns patches, ordered by merged squares of patches.

    The learned position grid has `side` entries per side. It is resampled bilinearly, its outermost entries on the
    outermost patches.
    """
    row, column = _grid_positions(rows, columns)
    order = torch.arange(rows * columns).view(rows // merge, merge, columns // merge, merge).permute(0, 2, 1, 3)
    row, column = row[order.flatten()], column[order.flatten()]
    along_rows, along_columns = torch.linspace(0, side - 1, rows), torch.linspace(0, side - 1, columns)
    down, across = along_rows[row], along_columns[column]
    top, left = down.long(), across.long()
    bottom, right = (top + 1).clamp(max=side - 1), (left + 1).clamp(max=side - 1)
    low, near = down - top, across - left
    corners = torch.stack([top * side + left, top * side + right, bottom * side + left, bottom * side + right], dim=1)
    weights = torch.stack([(1 - low) * (1 - near), (1 - low) * near, low * (1 - near), low * near], dim=1)
    return FrameLayout(torch.stack([row, column], dim=1), corners, weights)


def _runs(token_types: Tensor) -> Iterator[tuple[bool, int]]:
    """Yield whether a run of tokens is media, and its length."""
    types, counts = torch.unique_consecutive(token_types, return_counts=True)
    for kind, count in zip(types.tolist(), counts.tolist(), strict=True):
        yield kind > 0, count


@lru_cache(maxsize=64)
def _grid_positions(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return row.flatten(), column.flatten()
