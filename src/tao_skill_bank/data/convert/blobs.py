"""Media that a table holds as bytes: they become files that are named by their content."""

import hashlib
from collections.abc import Sequence

FOLDER = "media"
HEAD = 16
SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", ".png"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"GIF8", ".gif"),
    (0, b"BM", ".bmp"),
    (0, b"II*\0", ".tiff"),
    (0, b"MM\0*", ".tiff"),
    (8, b"WEBP", ".webp"),
    (8, b"AVI ", ".avi"),
    (4, b"ftypqt", ".mov"),
    (4, b"ftypavif", ".avif"),
    (4, b"ftyphei", ".heic"),
    (4, b"ftyp", ".mp4"),
    (0, b"\x1a\x45\xdf\xa3", ".mkv"),
)
KNOWN: Sequence[str] = tuple(dict.fromkeys(ending for _, _, ending in SIGNATURES))


def name_of(content: bytes) -> str:
    """Return the name of the file for some content; empty for content that is not a known medium."""
    head = content[:HEAD]
    ending = next((ending for at, mark, ending in SIGNATURES if head[at : at + len(mark)] == mark), "")
    return f"{FOLDER}/{hashlib.sha256(content).hexdigest()[:32]}{ending}" if ending else ""
