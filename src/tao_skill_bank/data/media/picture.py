"""Reads a picture as a viewer shows it: upright, opaque on white, 8 bits per channel."""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_skill_bank.data.media.content import require_media
from tao_skill_bank.data.media.limits import MAX_PIXELS, require_size, too_large
from tao_skill_bank.data.media.refusals import reason_of, refused
from tao_skill_bank.errors import MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The formats of pictures that datasets have. Pillow knows more, some of which run programs (EPS) or hold no pixels.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA", "ICO")
TURNED = range(5, 9)  # values of EXIF's orientation that exchange width and height
ORIENTATION_TAG = 0x0112
OF_ONE_PICTURE = frozenset({"MPO", "ICO"})  # their further frames are previews, depth or gain maps, other sizes
CUT_SHORT = ("truncated", "unexpected end", "premature end", "cannot identify chunk")
PILLOW_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
)  # raised by Pillow for files with broken content


@dataclass(frozen=True)
class PictureHeader:
    """The (width, height) of a picture as shown, and whether it has more frames than the first, which is shown."""

    width: int
    height: int
    is_animated: bool


def require_pillow() -> None:
    """Raise MissingExtraError unless Pillow is installed."""
    if find_spec("PIL") is None:
        raise MissingExtraError.for_module("pillow", "train")


def read(path: Path) -> "NDArray[np.uint8]":
    """Return a picture as RGB of shape (height, width, 3).

    The orientation in its EXIF data is applied; transparent pixels are composited on white; of an animation the first
    frame is read. Channels of 16 bits give their upper 8, which scales 0..65535 to 0..255; floats of 0..1 are
    multiplied by 255 and rounded.

    Raises:
        BlockedError: the file is missing, is not a picture, is cut short, is too large or too narrow, or has values
            outside these ranges, such as NaN.
        MissingExtraError: Pillow is not installed.

    """
    with _opened(path) as image:
        import numpy as np
        from PIL import ImageOps

        image.load()
        upright = ImageOps.exif_transpose(image)
        pixels = np.array(_opaque(_with_8_bits(upright)).convert("RGB"))
    require_size(path, pixels.shape[1], pixels.shape[0])
    return pixels


def header(path: Path) -> PictureHeader:
    """Return the size of a picture without decoding it. Raises like `read`, as far as its header shows."""
    with _opened(path) as image:
        width, height = image.size
        # Pillow decodes a PNG without EXIF data to look for it, and gives the size of a TIFF as shown.
        may_turn = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        if may_turn and image.getexif().get(ORIENTATION_TAG) in TURNED:
            width, height = height, width
        is_animated = image.format not in OF_ONE_PICTURE and bool(getattr(image, "is_animated", False))
    return PictureHeader(width, height, is_animated)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a picture and check its declared size; errors of Pillow inside the block become ours."""
    require_media(path, "image")
    require_pillow()
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_formats()) as image:
            require_size(path, *image.size)
            yield image
    except UnidentifiedImageError:
        reason = "it is not a picture of a format that is read (JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, JPEG 2000, AVIF)"
        raise refused(path, reason, fix="Convert it to PNG, or drop its records.") from None
    except Image.DecompressionBombError as error:
        found = re.search(r"\((\d+) pixels\)", str(error))  # Pillow refuses twice our limit before it gives a size
        raise too_large(path, int(found.group(1)) if found else 2 * MAX_PIXELS) from None
    except PILLOW_ERRORS as error:
        reason = reason_of(error)
        if any(sign in reason.lower() for sign in CUT_SHORT):
            fix = "Copy it again, or drop its records."
            raise refused(path, f"it is cut short ({reason})", code="media_cut_short", fix=fix) from None
        raise refused(path, reason) from None


def _formats() -> list[str]:
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _with_8_bits(image: Any) -> Any:
    """Return a picture whose channels are scaled to 8 bits. Raises ValueError for values without a known range."""
    import numpy as np
    from PIL import Image

    if not image.mode.startswith(("I", "F")):
        return image
    values = np.array(image)
    if image.mode == "F":
        if not np.isfinite(values).all():
            raise ValueError("it has values that are not finite")
        least, most = float(values.min()), float(values.max())
        if least < 0 or most > 1:
            raise ValueError(f"its floating-point values reach from {least:g} to {most:g}, where 0 to 1 are read")
        scaled = np.rint(values * 255).astype(np.uint8)
    else:
        least, most = int(values.min()), int(values.max())
        if least < 0 or most > 0xFFFF:
            raise ValueError(f"its integers reach from {least} to {most}, where 16 bits are read")
        scaled = (values >> 8).astype(np.uint8)
    grey = Image.fromarray(scaled)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _opaque(image: Any) -> Any:
    """Return a picture composited on white."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    coloured = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured)
