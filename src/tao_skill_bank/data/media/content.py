"""Refuses by its first bytes what only has the name of a video or a picture: pointers, playlists, pages, nothing."""

import codecs
from pathlib import Path
from typing import Literal

from tao_skill_bank.data.media.refusals import refused
from tao_skill_bank.errors import BlockedError

MediaKind = Literal["video", "image"]
NOUNS: dict[MediaKind, str] = {"video": "a video", "image": "a picture"}
HEAD_BYTES = 1024
LFS_POINTER = b"version https://git-lfs.github.com/spec"
PLAYLISTS = {b"#EXTM3U": "an HLS playlist", b"ffconcat version": "an ffconcat playlist"}
TEXT_CONTROLS = frozenset("\t\n\r\f\v\x1b")
TEXTUAL_MEDIA = (b"YUV4MPEG2", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")  # formats whose header is text
PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def require_media(path: Path, kind: MediaKind) -> bytes:
    """Return the first bytes of a file that may be a video or a picture.

    Raises:
        BlockedError: the file is missing, empty, a Git LFS pointer, a playlist or other text.

    """
    if not path.is_file():
        message = f"Media file {path} does not exist."
        fix = "Correct its name, or the folder of the media."
        raise BlockedError.of("missing_media", message, fix, path=str(path))
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise refused(path, error.strerror or "it cannot be opened") from None
    if not head:
        raise refused(path, "it is empty", fix="Copy the file again, or drop its records.")
    if head.startswith(LFS_POINTER):
        reason = "it is a Git LFS pointer, not the file itself, which `git lfs pull` fetches"
        raise refused(path, reason, code="media_lfs_pointer", fix="Run `git lfs pull` in the dataset's repository.")
    if name := next((name for start, name in PLAYLISTS.items() if head.lstrip(codecs.BOM_UTF8).startswith(start)), ""):
        fix = "Name the clips themselves, or write the playlist into one file: ffmpeg -i PLAYLIST -c copy OUT.mp4"
        raise refused(path, f"it is {name}, not a video", code="media_playlist", fix=fix)
    if is_text(head):
        reason = f"it is text, not {NOUNS[kind]}"
        raise refused(path, reason, fix="Download or copy the file again, or drop its records.")
    return head


def is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a text, such as an HTML page."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif head.startswith(TEXTUAL_MEDIA) or b"\0" in head:
        return False
    else:
        encoding = "utf-8"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character >= " " or character in TEXT_CONTROLS for character in text)


def is_picture(path: Path) -> bool:
    """Return whether a file begins like a picture, whatever it is called."""
    with path.open("rb") as file:
        head = file.read(16)
    return head.startswith(PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:12] == b"ftypavif"
