"""Checks of the sampled records that preflight asks this model: how large frames of long clips are, and truths."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import warning
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.records.values import Media
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import truth_checks
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import sampling_of
from tao_skill_bank.models.cosmos_reason.record_tokens import geometry_of, rate_of, vision_of
from tao_skill_bank.models.cosmos_reason.repairs import vision_prefix
from tao_skill_bank.models.cosmos_reason.tokens import Geometry, frame_indices, frame_size

SMALL_PIXELS = 128 * 128  # 16 tokens: a thing that fills a quarter of the frame's width has a single one


@dataclass(frozen=True)
class Budget:
    """What decides the size of frames: the spec's sampling and the checkpoint's geometry."""

    vision: VideoSampling
    geometry: Geometry

    def size(self, source: tuple[int, int], frames: int) -> tuple[int, int]:
        """Return the (height, width) of every frame of a clip with frames of the size `source`."""
        height, width = source
        return frame_size(self.vision, height=height, width=width, num_frames=frames, geometry=self.geometry)


@dataclass(frozen=True)
class Shown:
    """A clip as the model gets it: its frames, and the (height, width) of each and of the source."""

    name: str
    frames: int
    size: tuple[int, int]
    source: tuple[int, int]


def check(spec: Mapping[str, Any], records: Sequence[Probed]) -> list[Finding]:
    """Return a warning where clips share `total_pixels` over so many frames that each of them becomes small.

    Of an evaluation also what its truths do not fit.
    """
    budget = Budget(vision_of(spec), geometry_of(spec)[0])
    shown = [found for record in records for found in _small(budget, record)]
    small = [_warning(spec, budget, shown, len(records))] if shown else []
    return [*small, *truth_checks.check(spec, records)]


def _small(budget: Budget, record: Probed) -> Iterator[Shown]:
    """Yield the clips of a record whose frames are small because the budget is shared."""
    for media, probe in zip(record.media, record.probes, strict=True):
        if media.kind != "video":
            continue
        try:
            frames = _num_frames(budget.vision, media, probe)
        except BlockedError:
            continue  # the prediction of its tokens says why
        source = (probe.height, probe.width)
        size, alone = budget.size(source, frames), budget.size(source, 1)
        if _pixels(size) < min(SMALL_PIXELS, _pixels(alone)):
            yield Shown(media.name, frames, size, source)


def _num_frames(vision: VideoSampling, media: Media, probe: MediaProbe) -> int:
    if media.indices is not None:
        return len(media.indices)
    rate = rate_of(media, probe)
    available = probe.num_frames or max(1, round(probe.duration_seconds * rate))
    sampling, times = sampling_of(vision, media), probe.frame_seconds
    return len(frame_indices(sampling, container_fps=rate, num_container_frames=available, frame_seconds=times))


def _warning(spec: Mapping[str, Any], budget: Budget, shown: Sequence[Shown], sampled: int) -> Finding:
    vision = budget.vision
    worst = min(shown, key=lambda clip: _pixels(clip.size))
    height, width = worst.size
    tokens = _pixels(worst.size) // budget.geometry.factor**2
    prefix = vision_prefix(spec)
    message = (
        f"{worst.name} is shown as {worst.frames} frames of {width}x{height} pixels ({tokens} tokens each): they share "
        f"{prefix}total_pixels {vision.total_pixels}. Clips with frames below {SMALL_PIXELS} pixels: {len(shown)} in "
        f"{sampled} sampled records."
    )
    frames, pixels = _enough(budget, worst)
    fewer: tuple[str, float] = (f"{prefix}nframes" if prefix else "num_frames", frames)
    if vision.nframes is None and vision.fps is not None:
        fewer = (f"{prefix}fps", math.floor(1000 * vision.fps * frames / worst.frames) / 1000)
    fix = f"Set {fewer[0]}={fewer[1]:g} for fewer frames, or {prefix}total_pixels={pixels} for longer sequences."
    found = warning("small_frames", message, fix, f"{prefix}total_pixels", size=[height, width], frames=worst.frames)
    return replace(found, fix_choices=({fewer[0]: fewer[1]}, {f"{prefix}total_pixels": pixels}))


def _enough(budget: Budget, clip: Shown) -> tuple[int, int]:
    """Return how few frames, or else what budget, give this clip's frames the size that is not warned of."""
    wanted = min(SMALL_PIXELS, _pixels(budget.size(clip.source, 1)))
    frames, total_pixels = clip.frames, budget.vision.total_pixels
    while _pixels(budget.size(clip.source, frames)) < wanted:
        frames = frames * 19 // 20
    while _pixels(budget.size(clip.source, clip.frames)) < wanted:
        total_pixels = total_pixels * 21 // 20
        budget = replace(budget, vision=replace(budget.vision, total_pixels=total_pixels))
    return frames, total_pixels


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]
