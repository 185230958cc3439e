"""Decodes only the frames that a record needs, with PyAV and Pillow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tao_skill_bank.errors import BlockedError, MissingExtraError
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
        frames_per_second: the record's `video_fps`; the container's rate when None.
        geometry: patch sizes of the model.

    Raises:
        BlockedError: the file is missing, is not a video, or is too short for the sampling.

    """
    av = _import("av")
    _require(path)
    try:
        with av.open(str(path)) as container:
            stream = _video_stream(container, path)
            rate = frames_per_second or float(stream.average_rate or stream.guessed_rate or 0)
            if rate <= 0:
                raise _unreadable(path, "its container has no frame rate; set video_fps in the record")
            count = stream.frames or _count_packets(av, path)
            return _decode(container, path, vision, (rate, count), geometry)
    except av.FFmpegError as error:
        raise _unreadable(path, f"ffmpeg says: {error}") from None


def read_image(path: Path, vision: VideoSampling, *, geometry: Geometry = tokens.QWEN3_VL) -> Frames:
    """Read and resize one image. Raises BlockedError when it is missing or not an image."""
    image_module = _import("PIL.Image", "pillow")
    _require(path)
    try:
        with image_module.open(path) as image:
            pixels = _to_tensor(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from None
    size = tokens.image_size(vision, width=pixels.shape[2], height=pixels.shape[1], geometry=geometry)
    return Frames(resize(pixels, size)[None])


def _decode(container: Any, path: Path, vision: VideoSampling, clock: tuple[float, int], geometry: Geometry) -> Frames:
    rate, count = clock
    wanted = tokens.frame_indices(vision, container_fps=rate, num_container_frames=count)
    found: dict[int, torch.Tensor] = {}
    needed = set(wanted)
    size: tuple[int, int] | None = None
    seen = 0
    converter = _import("av.video.reformatter").VideoReformatter()  # shared by all frames: creating one takes 1 ms
    for frame in container.decode(video=0):
        if seen in needed:
            pixels = _to_tensor(converter.reformat(frame, format="rgb24").to_ndarray())
            size = size or tokens.frame_size(
                vision, width=pixels.shape[2], height=pixels.shape[1], num_frames=len(wanted), geometry=geometry
            )
            found[seen] = resize(pixels, size)
        seen += 1
        if seen > wanted[-1]:
            break
    if not found:
        raise _unreadable(path, "no frame could be decoded")
    if len(found) < len(needed):  # the container declares more frames than it has
        container.seek(0)
        return _decode(container, path, vision, (rate, seen), geometry)
    return Frames(_stack(found, wanted), tokens.timestamps(wanted, rate, geometry))


def _stack(found: dict[int, torch.Tensor], wanted: Sequence[int]) -> torch.Tensor:
    return torch.stack([found[index] for index in wanted])


def _to_tensor(image: Any) -> torch.Tensor:
    import numpy as np

    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _video_stream(container: Any, path: Path) -> Any:
    if not container.streams.video:
        raise _unreadable(path, "it has no video stream")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _count_packets(av: Any, path: Path) -> int:
    with av.open(str(path)) as container:
        return max(1, sum(1 for packet in container.demux(video=0) if packet.size))


def _require(path: Path) -> None:
    if not path.is_file():
        message = f"Media file {path} does not exist."
        raise BlockedError.of("missing_media", message, "Correct the name in the annotation or the media path.")


def _unreadable(path: Path, reason: str) -> BlockedError:
    return BlockedError.of(
        "media_unreadable", f"Media file {path} cannot be decoded: {reason}.", "Replace or re-encode the file."
    )


def _import(module: str, package: str = "") -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError.for_module(package or module, "train") from None


def read_frames(
    paths: Sequence[Path],
    vision: VideoSampling,
    *,
    frames_per_second: float | None,
    indices: Sequence[int] | None = None,
    geometry: Geometry = tokens.QWEN3_VL,
) -> Frames:
    """Read and resize a clip that is given as one image per frame.

    Args:
        paths: the frames in order.
        vision: frame sampling and pixel budgets.
        frames_per_second: the rate of the clip that the frames, or their numbers, belong to.
        indices: the number of every frame in a longer clip: all frames are shown; None to sample them like a clip.
        geometry: patch sizes of the model.

    Raises:
        BlockedError: a frame is missing, is not an image or has another size than the first, the rate is missing, or
            there are too few frames for the sampling.

    """
    image_module = _import("PIL.Image", "pillow")
    for path in paths:
        _require(path)
    if not frames_per_second:
        message = f"The frames from {paths[0]} have no rate."
        raise BlockedError.of("frames_without_rate", message, "Add video_fps or sample_fps to the record.")
    if indices is None:
        numbers = tokens.frame_indices(vision, container_fps=frames_per_second, num_container_frames=len(paths))
        chosen = [paths[number] for number in numbers]
    else:
        numbers, chosen = tuple(indices), list(paths)
    frames: list[torch.Tensor] = []
    source: tuple[int, int] | None = None
    size = (0, 0)
    for path in chosen:
        try:
            with image_module.open(path) as image:
                pixels = _to_tensor(image.convert("RGB"))
        except (OSError, ValueError) as error:
            raise _unreadable(path, str(error)) from None
        height, width = int(pixels.shape[1]), int(pixels.shape[2])
        if source is None:
            source = (height, width)
            size = tokens.frame_size(vision, width=width, height=height, num_frames=len(chosen), geometry=geometry)
        elif source != (height, width):
            raise _unreadable(path, f"it has {width}x{height} pixels, the first frame {source[1]}x{source[0]}")
        frames.append(resize(pixels, size))
    return Frames(torch.stack(frames), tokens.timestamps(numbers, frames_per_second, geometry))
