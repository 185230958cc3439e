"""Computes sampled frames, their size and their number of tokens. Pure Python: no torch, no numpy.

The trainer samples and resizes with these functions, so the count before the launch equals that of
the run. The rules are those of Qwen3-VL's processor (transformers `models/qwen3_vl`): frames evenly spaced, sides
rounded to whole merged patches, the clip scaled down into its pixel budget. Two deliberate differences: small
clips are not scaled up unless `min_pixels` is set, and a frame never has more than 768 tokens (the cap
of the reference implementation, qwen-vl-utils) unless `max_pixels` is set.
"""

import math
from dataclasses import dataclass

from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling

DEFAULT_FPS = 1.0
MIN_FRAMES = 4
MAX_FRAMES = 768
MAX_TOKENS_PER_FRAME = 768
MAX_TOKENS_PER_IMAGE = 16384
MAX_ASPECT_RATIO = 200
START_AND_END = 2


@dataclass(frozen=True)
class Geometry:
    """Patch sizes of the vision tower: pixels per patch side, frames per patch, patches per merged token side."""

    patch_size: int = 16
    temporal_patch_size: int = 2
    merge_size: int = 2

    @property
    def factor(self) -> int:
        """Pixels per side of one token."""
        return self.patch_size * self.merge_size


QWEN3_VL = Geometry()


def frame_indices(vision: VideoSampling, *, container_fps: float, num_container_frames: int) -> tuple[int, ...]:
    """Return the container frames that are sampled, evenly spaced from the first to the last of the range.

    Raises:
        RequestError: fps and nframes are both set.
        BlockedError: the clip has fewer frames than nframes, or no frames between video_start and video_end.

    """
    if vision.fps is not None and vision.nframes is not None:
        message = "custom.vision sets both fps and nframes."
        raise RequestError.of("fps_and_nframes", message, "Keep exactly one of fps and nframes.", path="custom.vision")
    first, last = _frame_range(vision, container_fps, num_container_frames)
    available = last - first + 1
    count = vision.nframes if vision.nframes is not None else _count_by_fps(vision, container_fps, available)
    if count > available:
        message = f"The clip has {available} frames, fewer than nframes = {count}."
        raise BlockedError.of("clip_too_short", message, f"Set nframes to at most {available}, or use fps instead.")
    if count == 1:
        return (first,)
    step = (last - first) / (count - 1)
    return (*(round(first + index * step) for index in range(count - 1)), last)


def timestamps(indices: tuple[int, ...], container_fps: float, geometry: Geometry = QWEN3_VL) -> tuple[float, ...]:
    """Return one time in seconds per temporal patch: the mean of its first and last frame's times.

    An odd last frame is repeated, as the pixels are.
    """
    size = geometry.temporal_patch_size
    padded = indices + (indices[-1],) * (-len(indices) % size)
    seconds = [index / container_fps for index in padded]
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
    frames = num_frames + -num_frames % geometry.temporal_patch_size
    cap = (vision.max_pixels or MAX_TOKENS_PER_FRAME * factor**2) * frames
    most = min(vision.total_pixels, cap)
    least = min((vision.min_pixels or factor**2) * frames, most)
    return smart_resize(height, width, frames=frames, factor=factor, min_pixels=least, max_pixels=most)


def image_size(vision: VideoSampling, *, width: int, height: int, geometry: Geometry = QWEN3_VL) -> tuple[int, int]:
    """Return the (height, width) in pixels that an image is resized to."""
    factor = geometry.factor
    if vision.resized_height is not None and vision.resized_width is not None:
        return _nearest(vision.resized_height, factor), _nearest(vision.resized_width, factor)
    most = min(vision.total_pixels, vision.max_pixels or MAX_TOKENS_PER_IMAGE * factor**2)
    least = min(vision.min_pixels or factor**2, most)
    return smart_resize(height, width, frames=1, factor=factor, min_pixels=least, max_pixels=most)


def video_tokens(
    vision: VideoSampling,
    *,
    width: int,
    height: int,
    duration_seconds: float,
    container_fps: float,
    num_container_frames: int,
) -> int:
    """Return every token that a video adds to a sequence: patches, timestamps, start and end marks.

    Args and errors are those of `video_layout`.

    """
    groups, per_group = video_layout(
        vision,
        width=width,
        height=height,
        duration_seconds=duration_seconds,
        container_fps=container_fps,
        num_container_frames=num_container_frames,
    )
    return START_AND_END + sum(timestamp_tokens(seconds) + START_AND_END + per_group for seconds in groups)


def video_layout(
    vision: VideoSampling,
    *,
    width: int,
    height: int,
    duration_seconds: float,
    container_fps: float,
    num_container_frames: int,
) -> tuple[tuple[float, ...], int]:
    """Return the time of every temporal patch of a video, and the vision tokens of each of them.

    Args:
        vision: frame sampling and pixel budgets.
        width: pixels per row of the source.
        height: pixels per column of the source.
        duration_seconds: used only if the container has no frame count (0).
        container_fps: the record's `video_fps`, else the container's rate.
        num_container_frames: frames in the container; 0 when unknown.

    """
    frames = num_container_frames or max(1, round(duration_seconds * container_fps))
    indices = frame_indices(vision, container_fps=container_fps, num_container_frames=frames)
    rows, columns = frame_size(vision, width=width, height=height, num_frames=len(indices))
    per_group = (rows // QWEN3_VL.factor) * (columns // QWEN3_VL.factor)
    return timestamps(indices, container_fps), per_group


def image_tokens(vision: VideoSampling, *, width: int, height: int) -> int:
    """Return every token that an image adds to a sequence, start and end marks included."""
    rows, columns = image_size(vision, width=width, height=height)
    return START_AND_END + (rows // QWEN3_VL.factor) * (columns // QWEN3_VL.factor)


def timestamp_tokens(seconds: float) -> int:
    """Return the tokens of `<12.3 seconds>`: Qwen's tokenizer gives one per digit and ` seconds` is a word."""
    digits = len(f"{seconds:.1f}") - 1
    return digits + len(("<", ".", " seconds", ">"))


def smart_resize(
    height: int, width: int, *, frames: int, factor: int, min_pixels: int, max_pixels: int
) -> tuple[int, int]:
    """Return (height, width) as multiples of `factor` whose frames x height x width is within the bounds.

    The aspect ratio is kept as closely as whole tokens allow. Source: transformers `smart_resize` of Qwen3-VL
    (frames > 1) and of Qwen2-VL (frames = 1), which agree.

    Raises:
        BlockedError: one side is more than 200 times the other.

    """
    if max(height, width) / min(height, width) > MAX_ASPECT_RATIO:
        message = f"A frame of {width}x{height} pixels is more than {MAX_ASPECT_RATIO} times longer than wide."
        raise BlockedError.of("aspect_ratio", message, "Crop the media or drop the record.")
    if frames > 1 and min(height, width) < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    rows, columns = max(factor, _nearest(height, factor)), max(factor, _nearest(width, factor))
    if frames * rows * columns > max_pixels:
        beta = math.sqrt(frames * height * width / max_pixels)
        return _floor(height / beta, factor), _floor(width / beta, factor)
    if frames * rows * columns < min_pixels:
        beta = math.sqrt(min_pixels / (frames * height * width))
        return math.ceil(height * beta / factor) * factor, math.ceil(width * beta / factor) * factor
    return rows, columns


def _frame_range(vision: VideoSampling, container_fps: float, num_frames: int) -> tuple[int, int]:
    first = math.ceil((vision.video_start or 0.0) * container_fps)
    last = num_frames - 1
    if vision.video_end is not None:
        last = min(last, math.floor(vision.video_end * container_fps))
    if first > last or num_frames < 1:
        seconds = num_frames / container_fps
        message = f"There are no frames between video_start and video_end: the clip is {seconds:.2f} seconds long."
        raise BlockedError.of("empty_time_range", message, "Correct custom.vision.video_start and video_end.")
    return first, last


def _count_by_fps(vision: VideoSampling, container_fps: float, available: int) -> int:
    wanted = int(available / container_fps * (vision.fps or DEFAULT_FPS))
    bounded = min(max(wanted, vision.min_frames or MIN_FRAMES), vision.max_frames or MAX_FRAMES, available)
    return max(1, bounded)


def _nearest(pixels: int, factor: int) -> int:
    return max(1, round(pixels / factor)) * factor


def _floor(pixels: float, factor: int) -> int:
    return max(1, math.floor(pixels / factor)) * factor
