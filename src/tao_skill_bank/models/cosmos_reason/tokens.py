"""Computes sampled frames, their size and their number of tokens. Pure Python: no torch, no numpy.

The trainer samples and resizes with these functions, so the count before the launch equals that of
the run. The rules are those of Qwen3-VL's processor (transformers `models/qwen3_vl`): frames evenly spaced, sides
rounded to whole merged patches, a clip or image scaled into the bounds of its checkpoint's processors, so that training
sees what transformers and vLLM show when they serve the checkpoint. The spec's own bounds and budget come before them.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling

DEFAULT_FPS = 1.0
MIN_FRAMES = 4
MAX_FRAMES = 768
MAX_ASPECT_RATIO = 200
START_AND_END = 2


@dataclass(frozen=True)
class PixelLimits:
    """How many pixels a checkpoint's processors make of an image, and of all frames of a clip together.

    The defaults are those that Qwen publishes with Qwen3-VL. `max_frame_tokens` bounds a single frame as well, in
    checkpoints whose video processor sets `cap_pixels_per_frame`.
    """

    min_image_pixels: int = 65_536
    max_image_pixels: int = 16_777_216
    min_video_pixels: int = 4_096
    max_video_pixels: int = 25_165_824
    max_frame_tokens: int | None = None


@dataclass(frozen=True)
class Geometry:
    """Patch sizes of the vision tower: pixels per patch side, frames per patch, patches per merged token side.

    With the limits of the checkpoint's processors.
    """

    patch_size: int = 16
    temporal_patch_size: int = 2
    merge_size: int = 2
    limits: PixelLimits = field(default_factory=PixelLimits)

    @property
    def factor(self) -> int:
        """Pixels per side of one token."""
        return self.patch_size * self.merge_size


QWEN3_VL = Geometry()


def frame_indices(
    vision: VideoSampling,
    *,
    container_fps: float,
    num_container_frames: int,
    frame_seconds: Sequence[float] = (),
) -> tuple[int, ...]:
    """Return the container frames that are sampled, evenly spaced from the first to the last of the range.

    Args:
        vision: frame sampling.
        container_fps: the record's `video_fps`, else the container's rate.
        num_container_frames: frames in the container.
        frame_seconds: when each frame is shown, of a clip with a variable rate, whose times no rate gives.

    Raises:
        RequestError: fps and nframes are both set.
        BlockedError: the clip has fewer frames than nframes, or no frames between video_start and video_end.

    """
    if vision.fps is not None and vision.nframes is not None:
        message = "custom.vision sets both fps and nframes."
        raise RequestError.of("fps_and_nframes", message, "Keep exactly one of fps and nframes.", path="custom.vision")
    first, last = _frame_range(vision, container_fps, num_container_frames, frame_seconds)
    available = last - first + 1
    count = vision.nframes if vision.nframes is not None else _count_by_fps(vision, container_fps, available)
    if count > available:
        message = f"The clip has {available} frames, fewer than nframes = {count}."
        raise BlockedError.of("clip_too_short", message, f"Set nframes to at most {available}, or use fps instead.")
    if count == 1:
        return (first,)
    step = (last - first) / (count - 1)
    return (*(round(first + index * step) for index in range(count - 1)), last)


def timestamps(
    indices: tuple[int, ...],
    container_fps: float,
    geometry: Geometry = QWEN3_VL,
    frame_seconds: Sequence[float] = (),
) -> tuple[float, ...]:
    """Return one time in seconds per temporal patch: the mean of its first and last frame's times.

    An odd last frame is repeated, as the pixels are. `frame_seconds` is that of `frame_indices`.
    """
    size = geometry.temporal_patch_size
    padded = indices + (indices[-1],) * (-len(indices) % size)
    seconds = [frame_seconds[index] if frame_seconds else index / container_fps for index in padded]
    return tuple((seconds[start] + seconds[start + size - 1]) / 2 for start in range(0, len(seconds), size))


def timestamp_text(seconds: float) -> str:
    """Return the text that precedes the tokens of one temporal patch."""
    return f"<{seconds:.1f} seconds>"


def frame_size(
    vision: VideoSampling, *, width: int, height: int, num_frames: int, geometry: Geometry = QWEN3_VL
) -> tuple[int, int]:
    """Return the (height, width) in pixels that every frame of a clip is resized to."""
    factor = geometry.factor
    if vision.resized_height is not None and vision.resized_width is not None:
        return _nearest(vision.resized_height, factor), _nearest(vision.resized_width, factor)
    shown = max(num_frames, geometry.temporal_patch_size)
    padded = shown + -shown % geometry.temporal_patch_size
    budget = min(vision.total_pixels, (vision.max_pixels or vision.total_pixels) * padded)
    most, frames, counted = _most_video_pixels(shown, geometry), shown, _nearest_multiple(shown, geometry)
    if vision.max_pixels is not None or budget < most:
        most, frames, counted = budget, padded, padded
    least = vision.min_pixels * padded if vision.min_pixels else geometry.limits.min_video_pixels
    if min(height, width) < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    bounds = (min(least, most), most)
    return smart_resize(height, width, frames=frames, counted_frames=counted, factor=factor, bounds=bounds)


def image_size(vision: VideoSampling, *, width: int, height: int, geometry: Geometry = QWEN3_VL) -> tuple[int, int]:
    """Return the (height, width) in pixels that an image is resized to."""
    factor = geometry.factor
    if vision.resized_height is not None and vision.resized_width is not None:
        return _nearest(vision.resized_height, factor), _nearest(vision.resized_width, factor)
    most = min(vision.total_pixels, vision.max_pixels or geometry.limits.max_image_pixels)
    bounds = (min(vision.min_pixels or geometry.limits.min_image_pixels, most), most)
    return smart_resize(height, width, frames=1, counted_frames=1, factor=factor, bounds=bounds)


@dataclass(frozen=True)
class ClipFrames:
    """The frames of a clip, from its container.

    Attributes:
        width: pixels per row as shown.
        height: pixels per column as shown.
        duration_seconds: used only if the container has no frame count (0).
        container_fps: the record's `video_fps`, else the container's rate.
        num_container_frames: frames in the container; 0 when unknown.
        frame_seconds: that of `frame_indices`.

    """

    width: int
    height: int
    duration_seconds: float
    container_fps: float
    num_container_frames: int
    frame_seconds: Sequence[float] = ()


def video_tokens(vision: VideoSampling, *, geometry: Geometry = QWEN3_VL, **clip: Any) -> int:
    """Return every token that a video adds to a sequence: patches, timestamps, start and end marks.

    Args and errors are those of `video_layout`.

    """
    groups, per_group = video_layout(vision, geometry=geometry, **clip)
    return START_AND_END + sum(timestamp_tokens(seconds) + START_AND_END + per_group for seconds in groups)


def video_layout(vision: VideoSampling, *, geometry: Geometry = QWEN3_VL, **clip: Any) -> tuple[tuple[float, ...], int]:
    """Return the time of every temporal patch of a video, and the vision tokens of each of them.

    Args:
        vision: frame sampling and pixel budgets.
        geometry: patch sizes and limits of the checkpoint.
        clip: the fields of `ClipFrames`.

    """
    given = ClipFrames(**clip)
    frames = given.num_container_frames or max(1, round(given.duration_seconds * given.container_fps))
    indices = frame_indices(
        vision,
        container_fps=given.container_fps,
        num_container_frames=frames,
        frame_seconds=given.frame_seconds,
    )
    rows, columns = frame_size(
        vision, width=given.width, height=given.height, num_frames=len(indices), geometry=geometry
    )
    per_group = (rows // geometry.factor) * (columns // geometry.factor)
    return timestamps(indices, given.container_fps, geometry, given.frame_seconds), per_group


def image_tokens(vision: VideoSampling, *, width: int, height: int, geometry: Geometry = QWEN3_VL) -> int:
    """Return every token that an image adds to a sequence, start and end marks included."""
    rows, columns = image_size(vision, width=width, height=height, geometry=geometry)
    return START_AND_END + (rows // geometry.factor) * (columns // geometry.factor)


def timestamp_tokens(seconds: float) -> int:
    """Return the tokens of `<12.3 seconds>`: Qwen's tokenizer gives one per digit and ` seconds` is a word."""
    digits = len(f"{seconds:.1f}") - 1
    return digits + len(("<", ".", " seconds", ">"))


def smart_resize(
    height: int, width: int, *, frames: int, counted_frames: int, factor: int, bounds: tuple[int, int]
) -> tuple[int, int]:
    """Return (height, width) as multiples of `factor` whose frames x height x width is within the bounds.

    The aspect ratio is kept as closely as whole tokens allow. Source: transformers `smart_resize` of Qwen3-VL's
    videos and of Qwen2-VL's images, which agree except that the former scales with the frames and compares with
    them rounded to whole temporal patches.

    Args:
        height: pixels per column of the source.
        width: pixels per row of the source.
        frames: frames of the clip, by which it is scaled.
        counted_frames: frames that are compared with the bounds.
        factor: pixels per side of one token.
        bounds: fewest and most pixels of all frames together.

    Raises:
        BlockedError: one side is more than 200 times the other.

    """
    if max(height, width) / min(height, width) > MAX_ASPECT_RATIO:
        message = f"A frame of {width}x{height} pixels is more than {MAX_ASPECT_RATIO} times longer than wide."
        raise BlockedError.of("aspect_ratio", message, "Crop the media or drop the record.")
    least, most = bounds
    rows, columns = round(height / factor) * factor, round(width / factor) * factor
    if counted_frames * rows * columns > most:
        beta = math.sqrt(frames * height * width / most)
        return _floor(height / beta, factor), _floor(width / beta, factor)
    if counted_frames * rows * columns < least:
        beta = math.sqrt(least / (frames * height * width))
        return math.ceil(height * beta / factor) * factor, math.ceil(width * beta / factor) * factor
    return max(factor, rows), max(factor, columns)


def _most_video_pixels(num_frames: int, geometry: Geometry) -> int:
    """Return the most pixels of a clip of so many frames that the checkpoint's video processor leaves."""
    limits = geometry.limits
    if limits.max_frame_tokens is None:
        return limits.max_video_pixels
    per_frame = min(limits.max_frame_tokens * geometry.factor**2, limits.max_video_pixels // num_frames)
    return max(per_frame, int(limits.min_video_pixels * 1.05)) * num_frames  # as transformers has it


def _nearest_multiple(num_frames: int, geometry: Geometry) -> int:
    return round(num_frames / geometry.temporal_patch_size) * geometry.temporal_patch_size


def _frame_range(
    vision: VideoSampling, container_fps: float, num_frames: int, frame_seconds: Sequence[float]
) -> tuple[int, int]:
    start, end = vision.video_start or 0.0, vision.video_end
    if frame_seconds:
        first = bisect_left(frame_seconds, start)
        last = num_frames - 1 if end is None else bisect_right(frame_seconds, end) - 1
    else:
        first = math.ceil(start * container_fps)
        last = num_frames - 1 if end is None else min(num_frames - 1, math.floor(end * container_fps))
    if first > last or num_frames < 1:
        seconds = frame_seconds[-1] if frame_seconds else num_frames / container_fps
        message = f"There are no frames between video_start and video_end: the clip is {seconds:.2f} seconds long."
        raise BlockedError.of(
            "empty_time_range", message, "Correct video_start and video_end of the record, or of the vision settings."
        )
    return first, last


def _count_by_fps(vision: VideoSampling, container_fps: float, available: int) -> int:
    wanted = int(available / container_fps * (vision.fps or DEFAULT_FPS))
    bounded = min(max(wanted, vision.min_frames or MIN_FRAMES), vision.max_frames or MAX_FRAMES, available)
    return max(1, bounded)


def _nearest(pixels: int, factor: int) -> int:
    return max(1, round(pixels / factor)) * factor


def _floor(pixels: float, factor: int) -> int:
    return max(1, math.floor(pixels / factor)) * factor
