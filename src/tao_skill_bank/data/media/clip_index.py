"""The frames that a clip shows, their times and their size, from its packets: nothing is decoded but a first frame."""

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from tao_skill_bank.data.media import boxes, orientation
from tao_skill_bank.data.media.content import require_media
from tao_skill_bank.data.media.limits import require_size
from tao_skill_bank.data.media.orientation import Orientation
from tao_skill_bank.data.media.refusals import reason_of, refused
from tao_skill_bank.errors import BlockedError, MissingExtraError

WHOLE_SHARE = 0.98  # container headers are sometimes off by a frame
UNEVEN_INTERVAL_SHARE = 0.25  # an interval this far from the median counts as uneven
UNEVEN_FRAMES_SHARE = 0.01  # a clip with more uneven intervals than this has a variable frame rate
INDEXED_CLIPS = 4096  # clips with cached frame times; 93 frames take 4 KB
UNTIMED_FORMATS = frozenset({"avi"})  # their packets carry the order of decoding only
ALL_SAMPLES = {"ignore_editlist": "1"}  # an edit list shows a part of the samples that the header counts


@dataclass(frozen=True)
class Shape:
    """The size of a clip's frames as stored, and how they are shown: stretched to square pixels, then turned."""

    stored_width: int
    stored_height: int
    pixel_aspect: Fraction = Fraction(1)
    orientation: Orientation = orientation.PLAIN

    @property
    def square_size(self) -> tuple[int, int]:
        """(width, height) with square pixels, before turning: the height stays, as players have it."""
        return max(1, round(self.stored_width * self.pixel_aspect)), self.stored_height

    @property
    def shown_size(self) -> tuple[int, int]:
        """(width, height) as shown."""
        return self.orientation.size(*self.square_size)


@dataclass(frozen=True)
class ClipIndex:
    """The frames that a clip shows, in the order of their presentation.

    Attributes:
        ticks: their presentation times in `tick_seconds`, ascending; 0, 1, 2, ... where the container has no times.
        is_timed: whether decoded frames carry these times; else they are known by their order.
        stated_rate: average frames per second in the container's header; 0 without one.
        declared_frames: frames in the container's header; 0 if not given. Frames that an edit list hides do not count.

    """

    ticks: tuple[int, ...]
    tick_seconds: Fraction
    is_timed: bool
    stated_rate: float
    declared_frames: int
    shape: Shape

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def width(self) -> int:
        return self.shape.shown_size[0]

    @property
    def height(self) -> int:
        return self.shape.shown_size[1]

    @cached_property
    def seconds(self) -> tuple[float, ...]:
        """When each frame is shown, in seconds after the first."""
        return tuple(float((tick - self.ticks[0]) * self.tick_seconds) for tick in self.ticks)

    @cached_property
    def has_variable_rate(self) -> bool:
        return self.is_timed and is_uneven(self.ticks)

    @cached_property
    def rate(self) -> float:
        """Frames per second: the measured mean where the rate varies, else as the header says; 0 if unknown."""
        if self.has_variable_rate:
            return (len(self) - 1) / self.seconds[-1]
        return self.stated_rate

    @property
    def is_whole(self) -> bool:
        """Whether the file holds the frames that its header promises."""
        return is_enough(len(self), self.declared_frames)

    def position(self, tick: int | None) -> int | None:
        """Return the position of the frame that is shown at a tick."""
        if tick is None:
            return None
        position = bisect_left(self.ticks, tick)
        return position if position < len(self) and self.ticks[position] == tick else None


def require_decoder() -> None:
    """Raise MissingExtraError unless PyAV is installed."""
    if find_spec("av") is None:
        raise MissingExtraError.for_module("av", "train")


def clip_index(path: Path) -> ClipIndex:
    """Read the index of a clip; cached until the file changes.

    Raises:
        BlockedError: the file is missing, is not a video, has no frames, or its frames are too large or too narrow.
        MissingExtraError: PyAV is not installed.

    """
    try:
        status = path.stat()
    except OSError:
        status = None
    return _read(path, (status.st_mtime_ns, status.st_size) if status else None)


def whole_clip_index(path: Path) -> ClipIndex:
    """Read the index of a clip to decode. Raises BlockedError like `clip_index`, and when the clip is cut short."""
    index = clip_index(path)
    if not index.is_whole:
        raise cut_short(path, len(index), index.declared_frames)
    return index


def cut_short(path: Path, num_frames: int, promised: int) -> BlockedError:
    """Return the error of a clip that holds fewer frames than its header promises."""
    reason = f"it is cut short, with {num_frames} of the {promised} frames of its header"
    return refused(path, reason, code="media_cut_short", fix="Copy or encode it again, or drop its records.")


@contextmanager
def opened(path: Path, options: dict[str, str] | None = None) -> Iterator[tuple[Any, Any]]:
    """Open a clip; yields the container and its first video stream.

    Raises:
        BlockedError: it is not a video; also for errors of the decoder inside the block.

    """
    require_media(path, "video")
    require_decoder()
    import av

    try:
        with av.open(f"file:{path}", options=options or {}) as container:
            if not container.streams.video:
                raise refused(path, "it has no video stream")
            if container.format.name == "image2" or container.format.name.endswith("_pipe"):
                fix = "Name it under `image`, or give a video."
                raise refused(path, "it is a picture, not a video", code="media_is_picture", fix=fix)
            yield container, container.streams.video[0]
    except (av.FFmpegError, OSError, ArithmeticError, ValueError) as error:
        raise _broken(path, error) from None


def is_enough(num_frames: int, promised: int) -> bool:
    """Return whether so many frames are the promised ones, as headers are meant."""
    return num_frames >= WHOLE_SHARE * promised


def shape_of(path: Path, stream: Any) -> Shape:
    """Return how the frames of an open stream are shown. Raises ValueError for a turn that is not of 90 degrees."""
    context = stream.codec_context
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return Shape(context.width, context.height, Fraction(aspect), orientation_of(path))


def is_uneven(times: Sequence[float]) -> bool:
    """Return whether ascending times are those of a variable frame rate. The last interval does not count."""
    intervals = [later - earlier for earlier, later in itertools.pairwise(times)]
    if len(intervals) < 2:
        return False
    usual = median(intervals)
    uneven = sum(abs(interval - usual) > UNEVEN_INTERVAL_SHARE * usual for interval in intervals[:-1])
    return uneven > max(1, UNEVEN_FRAMES_SHARE * len(intervals))


@lru_cache(maxsize=INDEXED_CLIPS)
def _read(path: Path, version: tuple[int, int] | None) -> ClipIndex:  # noqa: ARG001 - part of the cache's key
    with opened(path) as (container, stream):
        shape = shape_of(path, stream)
        require_size(path, *shape.shown_size)
        packets = [(packet.pts, packet.is_discard) for packet in container.demux(stream) if packet.size]
        declared = stream.frames
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        base, kind = stream.time_base, container.format.name
    shown = [tick for tick, is_hidden in packets if not is_hidden]
    if not shown:
        raise refused(path, "it has no frames", code="media_without_frames")
    if not is_enough(len(packets), declared) and is_enough(_num_samples(path), declared):
        declared = len(shown)
    elif len(shown) < len(packets):
        declared = max(0, declared - (len(packets) - len(shown)))
    if kind in UNTIMED_FORMATS or len({*shown, None}) != len(shown) + 1 or not base:
        tick = 1 / Fraction(rate).limit_denominator(1_000_000) if rate else Fraction(1)
        return ClipIndex(tuple(range(len(shown))), tick, is_timed=False, stated_rate=rate, **_rest(declared, shape))
    return ClipIndex(tuple(sorted(shown)), Fraction(base), is_timed=True, stated_rate=rate, **_rest(declared, shape))


def _rest(declared: int, shape: Shape) -> dict[str, Any]:
    return {"declared_frames": declared, "shape": shape}


def _num_samples(path: Path) -> int:
    """Return the frames that a file holds, those included that its edit list never shows."""
    with opened(path, ALL_SAMPLES) as (container, stream):
        return sum(1 for packet in container.demux(stream) if packet.size)


def orientation_of(path: Path) -> Orientation:
    """Return how the frames of a clip are turned. Raises ValueError like `shape_of`, and BlockedError."""
    matrix = boxes.display_matrix(path)
    if matrix is not None:
        return orientation.of_matrix(matrix)
    with opened(path) as (container, stream):
        frame = next(container.decode(stream), None)
        return orientation.PLAIN if frame is None else orientation.of_frame(frame)


def _broken(path: Path, error: Exception) -> BlockedError:
    with path.open("rb") as file:
        is_movie = file.read(12)[4:8] == b"ftyp"
    if is_movie and not boxes.has_index(path):
        reason = "it is cut short, its index (the moov box) is missing, as when a copy stopped early"
        return refused(path, reason, fix="Copy or encode it again, or drop its records.")
    return refused(path, reason_of(error))
