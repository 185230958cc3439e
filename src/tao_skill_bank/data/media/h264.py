"""What the parameters of an H.264 track say of its frames' size, from the copy that MP4 keeps of them (avcC).

Section numbers are those of ITU-T H.264. ffmpeg reads the same, but decodes frames on its way: 10 to 90 ms per clip.
"""

from fractions import Fraction
from typing import NamedTuple

PARAMETERS_START = 6  # of avcC, after its version, profile, level and counts
SEQUENCE_PARAMETERS = 7  # the type of their unit (table 7-1)
WITH_CHROMA_FORMAT = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})  # 7.3.2.1.1
CROPPED_BY = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}  # pixels per unit of cropping, by chroma format (table 6-1)
EXPLICIT_ASPECT = 255
ASPECTS = (
    (0, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11), (80, 33), (18, 11),
    (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip  # table E-1
MAX_ZEROS = 32  # of an Exp-Golomb code


class FrameSize(NamedTuple):
    """Pixels per row and column of stored frames, and the shape of a pixel; 1 where the track does not say it."""

    width: int
    height: int
    pixel_aspect: Fraction


def frame_size(configuration: bytes) -> FrameSize | None:
    """Return what an avcC record says; None where it is not one, is broken, or holds several sets of parameters."""
    if len(configuration) <= PARAMETERS_START + 3 or configuration[0] != 1 or configuration[5] & 31 != 1:
        return None
    start = PARAMETERS_START + 2
    unit = configuration[start : start + int.from_bytes(configuration[PARAMETERS_START:start])]
    if not unit or unit[0] & 31 != SEQUENCE_PARAMETERS:
        return None
    try:
        return _read(_Bits(unit[1:].replace(b"\0\0\3", b"\0\0")))
    except ValueError:
        return None


class _Bits:
    """Reads numbers bit by bit. Raises ValueError past the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Return an unsigned number of `count` bits, u(n)."""
        self._left -= count
        if self._left < 0:
            raise ValueError("the parameters end early")
        return (self._value >> self._left) & ((1 << count) - 1)

    def golomb(self) -> int:
        """Return an unsigned Exp-Golomb number, ue(v) of 9.1."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > MAX_ZEROS:
                raise ValueError("not an Exp-Golomb number")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """Return a signed Exp-Golomb number, se(v) of 9.1.1."""
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _read(bits: _Bits) -> FrameSize:
    """Read seq_parameter_set_data (7.3.2.1.1) up to the pixel aspect."""
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.golomb()
    chroma = _chroma_format(bits) if profile in WITH_CHROMA_FORMAT else 1
    bits.golomb()
    _skip_order_count(bits)
    bits.golomb()
    bits.take(1)
    width = 16 * (bits.golomb() + 1)
    map_units = bits.golomb() + 1
    is_frame = bits.take(1)
    if not is_frame:
        bits.take(1)
    bits.take(1)
    height = 16 * map_units * (2 - is_frame)
    if bits.take(1):
        across, down = CROPPED_BY[chroma]
        left, right, top, bottom = (bits.golomb() for _ in range(4))
        width -= across * (left + right)
        height -= down * (2 - is_frame) * (top + bottom)
    aspect = _aspect(bits) if bits.take(1) else Fraction(1)
    return FrameSize(width, height, aspect)


def _chroma_format(bits: _Bits) -> int:
    """Return the chroma format, and skip the scaling lists after it."""
    chroma = bits.golomb()
    if chroma not in CROPPED_BY:
        raise ValueError("not a chroma format")
    if chroma == 3 and bits.take(1):
        chroma = 0  # separate planes are cropped like monochrome frames
        num_lists = 12
    else:
        num_lists = 12 if chroma == 3 else 8
    bits.golomb()
    bits.golomb()
    bits.take(1)
    if bits.take(1):
        for position in range(num_lists):
            if bits.take(1):
                _skip_scaling_list(bits, 16 if position < 6 else 64)
    return chroma


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    """Skip scaling_list (7.3.2.1.1.1)."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _skip_order_count(bits: _Bits) -> None:
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(bits.golomb()):
            bits.signed()


def _aspect(bits: _Bits) -> Fraction:
    """Return the pixel aspect at the start of vui_parameters (E.1.1)."""
    if not bits.take(1):
        return Fraction(1)
    code = bits.take(8)
    if code == EXPLICIT_ASPECT:
        across, down = bits.take(16), bits.take(16)
    else:
        across, down = ASPECTS[code] if code < len(ASPECTS) else (0, 1)
    return Fraction(across, down) if across and down else Fraction(1)
