"""Reads selected frames of a video file with PyAV."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tao_skill_bank.errors import BlockedError, MissingExtraError

Image = NDArray[np.uint8]


def count(path: Path) -> int:
    """Return the number of frames of a video whose first frame can be decoded.

    Raises:
        BlockedError: the file is not a readable video.

    """
    av = _av()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise _unreadable(path, "it has no video stream")
            if next(container.decode(video=0), None) is None:
                raise _unreadable(path, "no frame could be decoded")
        with av.open(str(path)) as container:
            return sum(1 for packet in container.demux(video=0) if packet.size)
    except (av.FFmpegError, OSError) as error:
        raise _unreadable(path, str(error)) from None


def read(path: Path, wanted: Sequence[int], pixel_format: Literal["gray", "rgb24"]) -> dict[int, Image]:
    """Return the frames at the positions `wanted`, of shape (height, width) or (height, width, 3).

    Raises:
        BlockedError: the file is not a readable video, or ends before the last of them.

    """
    av = _av()
    needed, found = set(wanted), {}
    try:
        with av.open(str(path)) as container:
            for position, frame in enumerate(container.decode(video=0)):
                if position in needed:
                    found[position] = frame.to_ndarray(format=pixel_format)
                if len(found) == len(needed):
                    return found
    except (av.FFmpegError, OSError, IndexError) as error:
        raise _unreadable(path, str(error)) from None
    raise _unreadable(path, f"it ends before frame {max(needed)}")


def spread(available: int, most: int) -> list[int]:
    """Return at most `most` positions of 0 .. available - 1, evenly spread, first and last among them."""
    chosen = min(available, most)
    if chosen <= 1:
        return list(range(chosen))
    return [round(index * (available - 1) / (chosen - 1)) for index in range(chosen)]


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise MissingExtraError.for_module("av", "predict") from None
    return av


def _unreadable(path: Path, reason: str) -> BlockedError:
    message = f"The video {path} cannot be read: {reason}."
    return BlockedError.of("media_unreadable", message, "Replace the file, or remove it.", path=str(path))
