"""What the header of a media file says of what it shows, without decoding and mostly without reading its frames."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from tao_skill_bank.data.media import h264, mpeg4, picture
from tao_skill_bank.data.media.clip_index import Shape, is_enough, is_uneven, opened, orientation_of, shape_of
from tao_skill_bank.data.media.content import MediaKind
from tao_skill_bank.data.media.limits import require_size

CONTAINER_ONLY = {"codec_whitelist": "none"}  # ten times faster: else ffmpeg decodes frames to look at them
PARAMETERS = {"h264": h264.frame_size, "mpeg4": mpeg4.frame_size}  # codecs whose parameters are read here
SQUARE = frozenset({"vp8", "vp9"})  # codecs whose frames do not say the shape of their pixels


@dataclass(frozen=True, slots=True)
class Header:
    """A clip or picture.

    Attributes:
        width: pixels per row as shown.
        height: pixels per column as shown.
        num_frames: of a clip, estimated from its duration where the container has no count; 1 for a picture.
        num_present: those of them that begin inside the file; fewer in a file whose copy stopped early.
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
    num_present: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether the file reaches as far as its index says."""
        return is_enough(self.num_present, self.num_frames)


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

        shape = _container_shape(path, stream) if options else shape_of(path, stream)
        if shape is None:
            return None
        require_size(path, *shape.shown_size)
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        entries = _indexed(stream)
        seconds = float(container.duration or 0) / av.time_base
        num_frames = len(entries) or stream.frames or round(seconds * rate)
        num_bytes = path.stat().st_size
        return Header(
            *shape.shown_size,
            num_frames=num_frames,
            duration_seconds=num_frames / rate if rate else seconds,
            rate=rate,
            is_variable=is_uneven([time for time, _ in entries]),
            num_present=sum(start < num_bytes for _, start in entries) if entries else num_frames,
        )


def _container_shape(path: Path, stream: Any) -> Shape | None:
    """Return the shape of frames without a look at any; None where only the codec knows it."""
    context = stream.codec_context
    known = (context.width, context.height)
    if all(known) and stream.sample_aspect_ratio is not None:
        return shape_of(path, stream)
    if all(known) and context.name in SQUARE:
        return Shape(*known, orientation=orientation_of(path))
    read = PARAMETERS.get(context.name)
    said = read(context.extradata or b"") if read else None
    if said is None or not all(said[:2]) or (any(known) and said[:2] != known):
        return None
    aspect = stream.sample_aspect_ratio or said.pixel_aspect
    return Shape(said.width, said.height, Fraction(aspect), orientation_of(path))


def _indexed(stream: Any) -> list[tuple[int, int]]:
    """Return when shown frames are decoded and where they begin, where the container's index has all; else nothing."""
    if not stream.frames:
        return []
    entries = [entry for entry in stream.index_entries if not entry.is_discard]
    return [(entry.timestamp, entry.pos) for entry in entries] if len(stream.index_entries) > 1 else []
