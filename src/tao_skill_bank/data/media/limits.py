"""Sizes beyond which no picture or clip is decoded."""

from pathlib import Path

from tao_skill_bank.data.media.refusals import refused
from tao_skill_bank.errors import BlockedError

# Decoded to RGB a picture of this size takes a quarter of a GiB per worker, and no model sees a fifth of its pixels.
# It is Pillow's own limit, beyond which a small file with a large declared size is taken for a decompression bomb.
MAX_PIXELS = 2**30 // 12
MAX_ASPECT_RATIO = 200  # beyond it Qwen's processors refuse a frame; a strip of this shape has lost its content


def require_size(path: Path, width: int, height: int) -> None:
    """Check the declared size of a picture or clip, in pixels as shown, before anything of it is decoded.

    Raises:
        BlockedError: it is too large, empty, or too narrow.

    """
    if width < 1 or height < 1:
        raise refused(path, f"it declares a size of {width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise too_large(path, width * height)
    longer, shorter = max(width, height), min(width, height)
    if longer > MAX_ASPECT_RATIO * shorter:
        reason = f"its {width}x{height} pixels are more than {MAX_ASPECT_RATIO} times longer than wide"
        raise refused(path, reason, code="aspect_ratio", fix="Crop it, or drop its records.")


def too_large(path: Path, num_pixels: int) -> BlockedError:
    """Return the error of a picture or clip that declares more than `MAX_PIXELS`."""
    declared, most = num_pixels / 1e6, MAX_PIXELS / 1e6
    reason = f"it declares {declared:.0f} million pixels, more than the {most:.0f} million that are decoded"
    return refused(path, reason, code="media_too_large", fix="Scale it down, or drop its records.")
