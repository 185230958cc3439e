"""Converts frames to the patches of Qwen3-VL's vision tower.

Implemented here instead of using transformers because its video processor needs torchvision and changes between
releases; the tests check that it is bitwise equal to the installed transformers processors.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from tao_skill_bank.models.cosmos_reason import processor_files
from tao_skill_bank.models.cosmos_reason.tokens import QWEN3_VL, Geometry

CHANNELS = 3


@dataclass(frozen=True)
class PixelFormat:
    """How a checkpoint expects pixels: patch sizes, and the mean and deviation of each channel in [0, 1]."""

    geometry: Geometry = QWEN3_VL
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    deviation: tuple[float, ...] = (0.5, 0.5, 0.5)

    @classmethod
    def load(cls, folder: Path) -> "PixelFormat":
        """Read a checkpoint folder's processor files; with Qwen3-VL's defaults. Raises BlockedError for broken ones."""
        document = processor_files.image_document(folder)
        default = cls()
        return cls(
            processor_files.geometry_of(folder),
            tuple(document.get("image_mean", default.mean)),
            tuple(document.get("image_std", default.deviation)),
        )


def resize(frame: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return a uint8 (3, height, width) frame in the new (height, width), bicubic with antialiasing."""
    if frame.shape[-2:] == size:
        return frame
    return F.interpolate(frame[None], size=size, mode="bicubic", antialias=True, align_corners=False)[0]


def patchify(frames: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Cut uint8 frames (time, 3, height, width) into patches in the tower's order.

    Returns:
        Patches of shape (grid_t * grid_h * grid_w, 3 * temporal_patch * patch * patch), still uint8. The last frame is
        repeated to fill a temporal patch.

    """
    patch, merge, temporal = geometry.patch_size, geometry.merge_size, geometry.temporal_patch_size
    if missing := -frames.shape[0] % temporal:
        frames = torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)])
    time, channels, height, width = frames.shape
    grid = (time // temporal, height // patch, width // patch)
    blocks = frames.reshape(grid[0], temporal, channels, grid[1] // merge, merge, patch, grid[2] // merge, merge, patch)
    ordered = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return ordered.reshape(grid[0] * grid[1] * grid[2], channels * temporal * patch * patch)


def normalize(patches: torch.Tensor, pixel_format: PixelFormat) -> torch.Tensor:
    """Return uint8 patches as float32, each channel shifted and scaled, on the patches' device."""
    per_channel = patches.shape[1] // CHANNELS
    mean = torch.tensor(pixel_format.mean, device=patches.device) * 255.0
    deviation = torch.tensor(pixel_format.deviation, device=patches.device) * 255.0
    return (patches.float() - mean.repeat_interleave(per_channel)) / deviation.repeat_interleave(per_channel)
