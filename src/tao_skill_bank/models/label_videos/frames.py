"""What a model is shown of a clip: frames evenly spread over it, as JPEG data URIs, and their times."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.data.media import clip_frames
from tao_skill_bank.data.media.clip_index import whole_clip_index

JPEG_QUALITY = 90


@dataclass(frozen=True)
class ShownClip:
    """Frames of a clip as parts of a message; `seconds` are their times, `rate` is the clip's average frame rate."""

    images: tuple[dict[str, Any], ...]
    seconds: tuple[float, ...]
    duration_seconds: float
    rate: float


def show(path: Path, num_frames: int, longest_side_pixels: int) -> ShownClip:
    """Return the frames of a clip, at most `num_frames` of them, the first and the last included.

    Raises:
        BlockedError: the clip cannot be decoded.
        MissingExtraError: PyAV or Pillow is not installed.

    """
    index = whole_clip_index(path)
    wanted = spread(len(index), num_frames)
    pixels = clip_frames.read(path, wanted)
    images = tuple(_part(pixels[position], longest_side_pixels) for position in wanted)
    duration = len(index) / index.rate if index.rate else index.seconds[-1]
    return ShownClip(images, tuple(index.seconds[position] for position in wanted), duration, index.rate)


def spread(available: int, most: int) -> list[int]:
    """Return at most `most` positions of 0 .. available - 1, evenly spread, first and last among them."""
    chosen = min(available, most)
    if chosen <= 1:
        return list(range(chosen))
    return [round(index * (available - 1) / (chosen - 1)) for index in range(chosen)]


def _part(pixels: Any, longest_side: int) -> dict[str, Any]:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((longest_side, longest_side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": uri}}
