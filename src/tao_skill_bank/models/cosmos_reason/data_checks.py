"""Checks of the sampled records that preflight asks this model: the size at which frames of long clips are shown."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import warning
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.record_tokens import vision_of
from tao_skill_bank.models.cosmos_reason.tokens import QWEN3_VL, frame_indices, frame_size

SMALL_PIXELS = 128 * 128  # 16 tokens: a thing that fills a quarter of the frame's width has a single one


@dataclass(frozen=True)
class Shown:
    """A clip as the model gets it: its frames, and the (height, width) of each and of the source."""

    name: str
    frames: int
    size: tuple[int, int]
    source: tuple[int, int]


def check(spec: Mapping[str, Any], records: Sequence[Probed]) -> list[Finding]:
    """Return a warning where clips share `total_pixels` over so many frames that each of them becomes small."""
    vision = vision_of(spec)
    shown = [found for record in records for found in _small(vision, record)]
    return [_warning(spec, vision, shown, len(records))] if shown else []


def _small(vision: VideoSampling, record: Probed) -> Iterator[Shown]:
    """Yield the clips of a record whose frames are small because the budget is shared."""
    for media, probe in zip(record.media, record.probes, strict=True):
        if media.kind != "video":
            continue
        try:
            frames = _num_frames(vision, record.record, probe)
        except BlockedError:
            continue  # the prediction of its tokens says why
        source = (probe.height, probe.width)
        size, alone = _size(vision, source, frames), _size(vision, source, 1)
        if _pixels(size) < min(SMALL_PIXELS, _pixels(alone)):
            yield Shown(media.name, frames, size, source)


def _size(vision: VideoSampling, source: tuple[int, int], frames: int) -> tuple[int, int]:
    return frame_size(vision, height=source[0], width=source[1], num_frames=frames)


def _num_frames(vision: VideoSampling, record: Mapping[str, Any], probe: MediaProbe) -> int:
    rate = float(record.get("video_fps") or probe.container_fps)
    available = probe.num_frames or max(1, round(probe.duration_seconds * rate))
    return len(frame_indices(vision, container_fps=rate, num_container_frames=available))


def _warning(spec: Mapping[str, Any], vision: VideoSampling, shown: Sequence[Shown], sampled: int) -> Finding:
    worst = min(shown, key=lambda clip: _pixels(clip.size))
    height, width = worst.size
    tokens = _pixels(worst.size) // QWEN3_VL.factor**2
    prefix = "custom.vision." if "custom" in spec else "vision." if "vision" in spec else ""
    message = (
        f"{worst.name} is shown as {worst.frames} frames of {width}x{height} pixels ({tokens} tokens each): they share "
        f"{prefix}total_pixels {vision.total_pixels}. Clips with frames below {SMALL_PIXELS} pixels: {len(shown)} in "
        f"{sampled} sampled records."
    )
    frames, pixels = _enough(vision, worst)
    fewer = f"{prefix}nframes={frames}"
    if vision.nframes is None and vision.fps is not None:
        fewer = f"{prefix}fps={math.floor(1000 * vision.fps * frames / worst.frames) / 1000:g}"
    fix = f"Set {fewer} for fewer frames, or {prefix}total_pixels={pixels} for longer sequences."
    return warning("small_frames", message, fix, f"{prefix}total_pixels", size=[height, width], frames=worst.frames)


def _enough(vision: VideoSampling, clip: Shown) -> tuple[int, int]:
    """Return how few frames, or else what budget, give this clip's frames the size that is not warned of."""
    wanted = min(SMALL_PIXELS, _pixels(_size(vision, clip.source, 1)))
    frames, budget = clip.frames, vision
    while _pixels(_size(vision, clip.source, frames)) < wanted:
        frames = frames * 19 // 20
    while _pixels(_size(budget, clip.source, clip.frames)) < wanted:
        budget = replace(budget, total_pixels=budget.total_pixels * 21 // 20)
    return frames, budget.total_pixels


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]
