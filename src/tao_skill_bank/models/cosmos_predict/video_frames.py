"""Selected frames of a generated video or its reference, as they are shown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tao_skill_bank.data.media import clip_frames
from tao_skill_bank.data.media.clip_index import whole_clip_index

Image = NDArray[np.uint8]


def count(path: Path) -> int:
    """Return the number of frames of a video whose first frame can be decoded.

    Raises:
        BlockedError: the file is not a readable video.

    """
    index = whole_clip_index(path)
    clip_frames.read(path, [0])
    return len(index)


def read(path: Path, wanted: Sequence[int], pixel_format: Literal["gray", "rgb24"]) -> dict[int, Image]:
    """Return the frames at the positions `wanted`, of shape (height, width) or (height, width, 3).

    Raises:
        BlockedError: the file is not a readable video, or ends before the last of them.

    """
    return clip_frames.read(path, wanted, pixel_format=pixel_format)


def spread(available: int, most: int) -> list[int]:
    """Return at most `most` positions of 0 .. available - 1, evenly spread, first and last among them."""
    chosen = min(available, most)
    if chosen <= 1:
        return list(range(chosen))
    return [round(index * (available - 1) / (chosen - 1)) for index in range(chosen)]
