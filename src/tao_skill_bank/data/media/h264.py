"""What the parameters of an H.264 track say of its frames' size, from the copy that MP4 keeps of them (avcC).

Section numbers are those of ITU-T H.264. ffmpeg reads the same, but decodes frames on its way: 10 to 90 ms per clip.
"""

from fractions import Fraction

from tao_skill_bank.data.media.codec_parameters import Bits, FrameSize

PARAMETERS_START = 6  # of avcC, after its version, profile, level and counts
SEQUENCE_PARAMETERS = 7  # the type of their unit (table 7-1)
WITH_CHROMA_FORMAT = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})  # 7.3.2.1.1
CROPPED_BY = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}  # pixels per unit of cropping, by chroma format (table 6-1)
EXPLICIT_ASPECT = 255
ASPECTS = (
    (0, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11), (80, 33), (18, 11),
    (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip  # table E-1


def frame_size(configuration: bytes) -> FrameSize | None:
    """Return what an avcC record says; None where it is not one, is broken, or holds several sets of parameters."""
    if len(configuration) <= PARAMETERS_START + 3 or configuration[0] != 1 or configuration[5] & 31 != 1:
        return None
    start = PARAMETERS_START + 2
    unit = configuration[start : start + int.from_bytes(configuration[PARAMETERS_START:start])]
    if not unit or unit[0] & 31 != SEQUENCE_PARAMETERS:
        return None
    try:
        return _read(Bits(unit[1:].replace(b"\0\0\3", b"\0\0")))
    except ValueError:
        return None


def _read(bits: Bits) -> FrameSize:
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


def _chroma_format(bits: Bits) -> int:
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


def _skip_scaling_list(bits: Bits, size: int) -> None:
    """Skip scaling_list (7.3.2.1.1.1)."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _skip_order_count(bits: Bits) -> None:
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(bits.golomb()):
            bits.signed()


def _aspect(bits: Bits) -> Fraction:
    """Return the pixel aspect at the start of vui_parameters (E.1.1)."""
    if not bits.take(1):
        return Fraction(1)
    code = bits.take(8)
    if code == EXPLICIT_ASPECT:
        across, down = bits.take(16), bits.take(16)
    else:
        across, down = ASPECTS[code] if code < len(ASPECTS) else (0, 1)
    return Fraction(across, down) if across and down else Fraction(1)
