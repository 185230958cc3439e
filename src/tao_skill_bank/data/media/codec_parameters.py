"""Reads the parameters of codecs bit by bit, and what they say of frames."""

from fractions import Fraction
from typing import NamedTuple

MAX_ZEROS = 32  # of an Exp-Golomb code


class FrameSize(NamedTuple):
    """Pixels per row and column of stored frames, and the shape of a pixel; 1 where the track does not say it."""

    width: int
    height: int
    pixel_aspect: Fraction


class Bits:
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
