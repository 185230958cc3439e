"""What the parameters of an MPEG-4 Visual track say of its frames' size, from the copy that MP4 keeps of them.

The layout is that of VideoObjectLayer in ISO/IEC 14496-2, 6.2.3.
"""

import re
from fractions import Fraction

from tao_skill_bank.data.media.codec_parameters import Bits, FrameSize

LAYER = re.compile(rb"\x00\x00\x01[\x20-\x2f]")  # the start code of a layer
EXPLICIT_ASPECT = 15
ASPECTS = {1: Fraction(1), 2: Fraction(12, 11), 3: Fraction(10, 11), 4: Fraction(16, 11), 5: Fraction(40, 33)}
BUFFER_BITS = 79  # of the parameters of the decoder's buffer
RECTANGULAR = 0


def frame_size(configuration: bytes) -> FrameSize | None:
    """Return what the parameters say; None where they have no layer of rectangular frames, or are broken."""
    found = LAYER.search(configuration)
    try:
        return _read(Bits(configuration[found.end() :])) if found else None
    except ValueError:
        return None


def _read(bits: Bits) -> FrameSize | None:
    bits.take(9)  # random access, type of the object
    if bits.take(1):
        bits.take(7)  # version and priority
    aspect = _aspect(bits)
    if bits.take(1):
        bits.take(3)  # chroma format, low delay
        if bits.take(1):
            bits.take(BUFFER_BITS)
    if bits.take(2) != RECTANGULAR:
        return None
    bits.take(1)
    resolution = bits.take(16)
    bits.take(1)
    if bits.take(1):  # a fixed rate, whose increment takes as many bits as the resolution needs
        bits.take(max(1, (resolution - 1).bit_length()))
    bits.take(1)
    width = bits.take(13)
    bits.take(1)
    return FrameSize(width, bits.take(13), aspect)


def _aspect(bits: Bits) -> Fraction:
    code = bits.take(4)
    if code != EXPLICIT_ASPECT:
        return ASPECTS.get(code, Fraction(1))
    across, down = bits.take(8), bits.take(8)
    return Fraction(across, down) if across and down else Fraction(1)
