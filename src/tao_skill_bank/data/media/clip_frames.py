"""Decodes frames of a clip as a player shows them: upright, with square pixels, in the order of their presentation."""

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tao_skill_bank.data.media.clip_index import ClipIndex, Shape, is_enough, opened, whole_clip_index
from tao_skill_bank.data.media.refusals import refused
from tao_skill_bank.errors import BlockedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

PixelFormat = Literal["rgb24", "gray"]


def read(
    path: Path, wanted: Sequence[int], *, pixel_format: PixelFormat = "rgb24", seek: bool = False
) -> "dict[int, Pixels]":
    """Return the frames at some positions. Arguments and errors are those of `iterate`."""
    return dict(iterate(path, wanted, pixel_format=pixel_format, seek=seek))


def iterate(
    path: Path, wanted: Sequence[int], *, pixel_format: PixelFormat = "rgb24", seek: bool = False
) -> "Iterator[tuple[int, Pixels]]":
    """Yield (position, frame) for some frames of a clip, each once, in ascending order.

    A frame that cannot be decoded shows the one before it, as a player does, while such frames are few
    (`is_enough`); preflight's probe judges by the same share.

    Args:
        path: the clip.
        wanted: positions in its `ClipIndex`.
        pixel_format: frames of shape (height, width, 3), or (height, width) for `gray`; uint8.
        seek: start at the key frame before the first of them, which is worth it for frames close to each other.

    Raises:
        BlockedError: the file is not a video, is cut short, does not have such a frame, or too few can be decoded.
        MissingExtraError: PyAV is not installed.

    """
    index = whole_clip_index(path)
    positions = sorted(set(wanted))
    if positions and not 0 <= positions[0] <= positions[-1] < len(index):
        message = f"{path} has {len(index)} frames; frames {positions[0]} to {positions[-1]} were requested."
        fix = "Lower the number of frames, or drop the clip."
        raise BlockedError.of("clip_too_short", message, fix, path=str(path))
    if not positions:
        return
    reader = _Reader(path, index, positions, pixel_format)
    if not (seek and index.is_timed and positions[0] and (yield from reader.frames(seek=True))):
        yield from reader.frames(seek=False)


class Converter:
    """Converts decoded frames of one clip to arrays of what is shown."""

    def __init__(self, shape: Shape, pixel_format: PixelFormat) -> None:
        from av.video.reformatter import VideoReformatter

        self._shape = shape
        self._pixel_format = pixel_format
        self._reformatter = VideoReformatter()  # shared by all frames: creating one takes 1 ms

    @property
    def is_plain(self) -> bool:
        """Return whether frames are shown as they are stored."""
        return self._shape.pixel_aspect == 1 and self._shape.orientation.is_plain

    def __call__(self, frame: Any) -> "Pixels":
        width, height = self._shape.square_size
        stretch = None if (frame.width, frame.height) == (width, height) else "BICUBIC"
        stored: Any = self._reformatter.reformat(frame, width, height, self._pixel_format, interpolation=stretch)
        return self._shape.orientation.apply(stored.to_ndarray())


class _Reader:
    def __init__(self, path: Path, index: ClipIndex, positions: list[int], pixel_format: PixelFormat) -> None:
        self._path = path
        self._index = index
        self._positions = positions
        self._converter = Converter(index.shape, pixel_format)

    def frames(self, *, seek: bool) -> "Generator[tuple[int, Pixels], None, bool]":
        """Yield the frames; returns False, with none of them yielded, when a seek lands behind the first of them."""
        pending = list(reversed(self._positions))
        shown: Any = None
        last = pending[-1] - 1 if seek else -1
        num_missing = 0
        with opened(self._path) as (container, stream):
            stream.thread_type = "AUTO"
            if seek:
                container.seek(self._index.ticks[pending[-1]], stream=stream)
            for frame in container.decode(stream):
                position = self._position(frame, last)
                if seek and shown is None and position > pending[-1]:
                    return False
                num_missing += max(0, position - last - 1)
                self._require_enough(num_missing)
                while pending and pending[-1] < position:
                    yield pending.pop(), self._converter(frame if shown is None else shown)
                if pending and pending[-1] == position:
                    yield pending.pop(), self._converter(frame)
                shown, last = frame, max(last, position)
                if not pending:
                    return True
        if shown is None and seek:
            return False
        self._require_enough(len(self._index) if shown is None else num_missing + len(self._index) - 1 - last)
        while pending:
            yield pending.pop(), self._converter(shown)
        return True

    def _position(self, frame: Any, last: int) -> int:
        """Return a frame's position: by its time, else the one after the last frame's."""
        position = self._index.position(frame.pts) if self._index.is_timed else None
        return last + 1 if position is None else position

    def _require_enough(self, num_missing: int) -> None:
        total = len(self._index)
        if not is_enough(total - num_missing, total):
            reason = f"{num_missing} of its {total} frames cannot be decoded"
            raise refused(self._path, reason, code="media_frames_broken")
