"""What the header of a media file says of what it shows, without decoding and mostly without reading its frames."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.data.media import picture
from tao_skill_bank.data.media.clip_index import is_uneven, opened, shape_of
from tao_skill_bank.data.media.content import MediaKind
from tao_skill_bank.data.media.limits import require_size

CONTAINER_ONLY = {"codec_whitelist": "none"}  # ten times faster: else ffmpeg decodes frames to look at them


@dataclass(frozen=True)
class Header:
    """A clip or picture.

    Attributes:
        width: pixels per row as shown.
        height: pixels per column as shown.
        num_frames: of a clip, estimated from its duration where the container has no count; 1 for a picture.
        duration_seconds: 0 for a picture.
        rate: average frames per second; 0 for a picture, or where the container has none.
        is_variable: the rate varies, as far as the container's own index shows; MP4 and QuickTime have one.
        is_animated: a picture with more frames than the first, which is the one that is shown.

    """

    width: int
    height: int
    num_frames: int = 1
    duration_seconds: float = 0.0
    rate: float = 0.0
    is_variable: bool = False
    is_animated: bool = False


def read_header(path: Path, kind: MediaKind) -> Header:
    """Return the header of a media file.

    Raises:
        BlockedError: the file is missing or cannot be of this kind, as far as its first bytes and header show.
        MissingExtraError: PyAV or Pillow is not installed.

    """
    if kind == "image":
        shown = picture.header(path)
        return Header(shown.width, shown.height, is_animated=shown.is_animated)
    found = _clip(path, CONTAINER_ONLY) or _clip(path, {})
    assert found  # only a look at the container alone may not suffice
    return found


def _clip(path: Path, options: dict[str, str]) -> Header | None:
    """Return the header of a clip; None where its codec must be asked for the shape of its pixels."""
    with opened(path, options) as (container, stream):
        import av

        if options and (not stream.codec_context.width or stream.sample_aspect_ratio is None):
            return None
        shape = shape_of(path, stream)
        require_size(path, *shape.shown_size)
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        shown = _indexed_times(stream)
        seconds = float(container.duration or 0) / av.time_base
        num_frames = len(shown) or stream.frames or round(seconds * rate)
        return Header(
            *shape.shown_size,
            num_frames=num_frames,
            duration_seconds=num_frames / rate if rate else seconds,
            rate=rate,
            is_variable=is_uneven(shown),
        )


def _indexed_times(stream: Any) -> list[int]:
    """Return the decoding times of the shown frames where the container's index lists all frames, else nothing."""
    if not stream.frames:
        return []
    entries = [entry for entry in stream.index_entries if not entry.is_discard]
    return [entry.timestamp for entry in entries] if len(stream.index_entries) > 1 else []
