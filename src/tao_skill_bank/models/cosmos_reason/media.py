"""Frames of a record's media as the model sees them: sampled, decoded as they are shown, and resized."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tao_skill_bank.data.media import clip_frames, picture
from tao_skill_bank.data.media.clip_index import whole_clip_index
from tao_skill_bank.data.media.refusals import refused
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import tokens
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.positions import Grid
from tao_skill_bank.models.cosmos_reason.tokens import Geometry
from tao_skill_bank.models.cosmos_reason.vision import resize


@dataclass(frozen=True)
class Frames:
    """Resized uint8 frames of shape (time, 3, height, width) and their temporal patches' times in seconds.

    `timestamps` is empty for an image.
    """

    pixels: torch.Tensor
    timestamps: tuple[float, ...] = ()

    def grid(self, geometry: Geometry) -> Grid:
        """Return the number of temporal, vertical and horizontal patches."""
        time, _, height, width = self.pixels.shape
        return -(-time // geometry.temporal_patch_size), height // geometry.patch_size, width // geometry.patch_size


@dataclass(frozen=True)
class Features:
    """The frozen vision tower's features of some frames: values of shape (vision tokens, levels, hidden)."""

    values: torch.Tensor
    patches: Grid
    timestamps: tuple[float, ...] = ()

    def grid(self, geometry: Geometry) -> Grid:  # noqa: ARG002 - the same interface as Frames
        """Return the grid of patches of the features."""
        return self.patches


def read_video(
    path: Path, vision: VideoSampling, *, frames_per_second: float | None = None, geometry: Geometry = tokens.QWEN3_VL
) -> Frames:
    """Decode and resize the sampled frames of a clip.

    Args:
        path: the video file.
        vision: frame sampling and pixel budgets.
        frames_per_second: the record's `video_fps`; the container's rate when None. A clip with a variable rate has
            times of its own, which count instead.
        geometry: patch sizes and limits of the model.

    Raises:
        BlockedError: the file is missing, is not a video, or is too short for the sampling.

    """
    index = whole_clip_index(path)
    seconds = index.seconds if index.has_variable_rate else ()
    rate = index.rate if seconds else frames_per_second or index.rate
    if rate <= 0:
        raise refused(path, "its container has no frame rate", fix="Set video_fps in the record.")
    wanted = tokens.frame_indices(vision, container_fps=rate, num_container_frames=len(index), frame_seconds=seconds)
    size = tokens.frame_size(vision, width=index.width, height=index.height, num_frames=len(wanted), geometry=geometry)
    found = {position: resize(_to_tensor(frame), size) for position, frame in clip_frames.iterate(path, wanted)}
    pixels = torch.stack([found[position] for position in wanted])
    return Frames(pixels, tokens.timestamps(wanted, rate, geometry, seconds))


def read_image(path: Path, vision: VideoSampling, *, geometry: Geometry = tokens.QWEN3_VL) -> Frames:
    """Read and resize one image. Raises BlockedError when it is missing or not an image."""
    pixels = _to_tensor(picture.read(path))
    size = tokens.image_size(vision, width=pixels.shape[2], height=pixels.shape[1], geometry=geometry)
    return Frames(resize(pixels, size)[None])


def read_frames(
    paths: Sequence[Path],
    vision: VideoSampling,
    *,
    frames_per_second: float | None,
    indices: Sequence[int] | None = None,
    geometry: Geometry = tokens.QWEN3_VL,
) -> Frames:
    """Read a clip that is given as pictures, one per frame.

    Args:
        paths: the pictures in the order of their presentation.
        vision: frame sampling and pixel budgets; with `indices` the budgets only.
        frames_per_second: rate of the clip that the pictures are, or were sampled from.
        indices: the pictures' positions in that clip, ascending: all of them are shown, at index / rate. None when
            the pictures are all frames of the clip, which is sampled like any other.
        geometry: patch sizes and limits of the model.

    Raises:
        BlockedError: a picture is missing or cannot be read, the pictures are of different sizes or too few, there is
            no rate, or `indices` does not fit them.

    """
    if not paths:
        message = "A clip given as pictures has none."
        raise BlockedError.of("clip_without_pictures", message, "Name its pictures, or drop the record.")
    if not frames_per_second or frames_per_second <= 0:
        reason = "it is one of the pictures of a clip that has no frame rate"
        raise refused(paths[0], reason, code="missing_rate", fix="Set video_fps in the record.")
    if indices is None:
        chosen = tokens.frame_indices(vision, container_fps=frames_per_second, num_container_frames=len(paths))
        shown = [paths[index] for index in chosen]
    else:
        chosen, shown = tuple(indices), list(paths)
        _require_positions(paths, chosen)
    pixels = _same_size_pictures(shown)
    size = tokens.frame_size(
        vision, width=pixels[0].shape[2], height=pixels[0].shape[1], num_frames=len(shown), geometry=geometry
    )
    resized = torch.stack([resize(frame, size) for frame in pixels])
    return Frames(resized, tokens.timestamps(chosen, frames_per_second, geometry))


def _require_positions(paths: Sequence[Path], indices: Sequence[int]) -> None:
    is_ascending = all(earlier < later for earlier, later in itertools.pairwise(indices))
    if len(indices) != len(paths) or not is_ascending or indices[0] < 0:
        message = f"The clip of {paths[0]} has {len(paths)} pictures with the frame indices {list(indices)}."
        fix = "Give one index per picture, ascending from 0 or above."
        raise BlockedError.of("frame_indices", message, fix, path=str(paths[0]))


def _same_size_pictures(paths: Sequence[Path]) -> list[torch.Tensor]:
    pixels: list[torch.Tensor] = []
    for path in paths:
        pixels.append(_to_tensor(picture.read(path)))
        (_, height, width), (_, first_height, first_width) = pixels[-1].shape, pixels[0].shape
        if (height, width) != (first_height, first_width):
            reason = f"it has {width}x{height} pixels, but the first picture of its clip {first_width}x{first_height}"
            fix = "Scale the pictures of a clip to one size."
            raise refused(path, reason, code="frame_sizes_differ", fix=fix)
    return pixels


def _to_tensor(image: Any) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()
