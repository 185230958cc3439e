"""How stored frames are turned to be shown: display matrices of containers, as the ffmpeg command applies them."""

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOLERANCE = math.sin(math.radians(1.0))  # ffmpeg takes an angle within one degree of a right one as that


@dataclass(frozen=True)
class Orientation:
    """What is done to a stored frame: first rows become columns, then columns, then rows are reversed."""

    transposes: bool = False
    mirrors_columns: bool = False
    mirrors_rows: bool = False

    @property
    def is_plain(self) -> bool:
        """Return whether frames are shown as they are stored."""
        return self == PLAIN

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the shown (width, height) of a stored frame."""
        return (height, width) if self.transposes else (width, height)

    def apply(self, frame: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        """Return a frame of shape (height, width, ...) as it is shown; contiguous."""
        import numpy as np

        shown = frame.swapaxes(0, 1) if self.transposes else frame
        shown = shown[:, ::-1] if self.mirrors_columns else shown
        shown = shown[::-1] if self.mirrors_rows else shown
        return np.ascontiguousarray(shown)


PLAIN = Orientation()


def of_matrix(matrix: tuple[int, ...]) -> Orientation:
    """Return the orientation of a display matrix (a b u / c d v / x y w), which maps (x, y) to (ax + cy, bx + dy).

    Raises:
        ValueError: it turns frames by another angle than a multiple of 90 degrees.

    """
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    straight, sideways = abs(a) + abs(d), abs(b) + abs(c)
    if sideways <= TOLERANCE * straight:  # also a matrix of zeros, which players ignore
        return Orientation(mirrors_columns=a < 0, mirrors_rows=d < 0)
    if straight <= TOLERANCE * sideways:
        return Orientation(transposes=True, mirrors_columns=c < 0, mirrors_rows=b < 0)
    angle = math.degrees(math.atan2(b, a))
    raise ValueError(f"its frames are turned by {angle:.0f} degrees, not by a multiple of 90")


def of_frame(frame: Any) -> Orientation:
    """Return the orientation of a decoded PyAV frame. Raises ValueError like `of_matrix`."""
    from av.sidedata.sidedata import Type

    side_data = next((data for data in frame.side_data if data.type == Type.DISPLAYMATRIX), None)
    return PLAIN if side_data is None else of_matrix(struct.unpack("=9i", bytes(side_data)[:36]))
