"""Boxes of MP4 and QuickTime files: the few that say how a clip is displayed, read without the rest of the file."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

ONE = 1 << 16  # matrices are fixed-point numbers
MATRIX_OFFSETS = {b"mvhd": (36, 48), b"tkhd": (40, 52)}  # after the box's header, for its versions 0 and 1

Matrix = tuple[int, ...]


class Box(NamedTuple):
    """A box: its four letters, and where its content starts and ends."""

    kind: bytes
    start: int
    end: int


def has_index(path: Path) -> bool:
    """Return whether a file has the box that lists its frames; a copy that stopped early often has none."""
    with path.open("rb") as file:
        return any(box.kind in (b"moov", b"moof") for box in boxes_of(file, 0, path.stat().st_size))


def display_matrix(path: Path) -> Matrix | None:
    """Return the display matrix of the first video track; None where it must be asked of the decoder.

    That is the case for files without such boxes, and for a movie that has a matrix besides its tracks'.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        movie = next((box for box in boxes_of(file, 0, size) if box.kind == b"moov"), None)
        if movie is None:
            return None
        parts = list(boxes_of(file, movie.start, movie.end))
        whole = next((_matrix(file, box) for box in parts if box.kind == b"mvhd"), None)
        if whole is None or not _is_identity(whole):
            return None
        tracks = [list(boxes_of(file, box.start, box.end)) for box in parts if box.kind == b"trak"]
        video = next((track for track in tracks if _is_video(file, track)), [])
        return next((_matrix(file, box) for box in video if box.kind == b"tkhd"), None)


def boxes_of(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two positions of a file; a broken one ends them."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind = struct.unpack_from(">I4s", head)
        content = start + 8
        if size == 1 and len(head) == 16:
            size, content = struct.unpack_from(">Q", head, 8)[0], start + 16
        last = end if size == 0 else start + size
        if last < content:
            return
        yield Box(kind, content, min(last, end))
        start = last


def _is_video(file: BinaryIO, track: list[Box]) -> bool:
    media = next((box for box in track if box.kind == b"mdia"), None)
    if media is None:
        return False
    handler = next((box for box in boxes_of(file, media.start, media.end) if box.kind == b"hdlr"), None)
    if handler is None:
        return False
    file.seek(handler.start + 8)
    return file.read(4) == b"vide"


def _matrix(file: BinaryIO, box: Box) -> Matrix | None:
    file.seek(box.start)
    version = file.read(1)
    file.seek(box.start + MATRIX_OFFSETS[box.kind][version == b"\1"])
    data = file.read(36)
    return struct.unpack(">9i", data) if len(data) == 36 else None


def _is_identity(matrix: Matrix) -> bool:
    return matrix[:2] == (ONE, 0) and matrix[3:5] == (0, ONE)
