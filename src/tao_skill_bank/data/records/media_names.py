"""Names of media in records: which are read, and what is wrong with the others."""

import re
from typing import Any
from urllib.parse import unquote

from tao_skill_bank.data.records.issues import Issues, shown
from tao_skill_bank.data.records.values import MediaKind

MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 4096
FILE_SCHEME = "file://"
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://|data:", re.IGNORECASE)
WINDOWS = re.compile(r"[A-Za-z]:[\\/]|[^\\]*\\")
BASE64 = re.compile(r"[A-Za-z0-9+/=_-]{256}")
VIDEO_ENDINGS = (
    *(".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".m2ts"),
)
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".jfif", ".heic", ".avif", ".ppm")
ENDINGS = {"video": VIDEO_ENDINGS, "image": IMAGE_ENDINGS}
OTHER: dict[MediaKind, MediaKind] = {"video": "image", "image": "video"}
INVALID = ""  # stands for a name that cannot be used, so that media are counted as they are named


def read(value: Any, kind: MediaKind, place: str, issues: Issues) -> str:
    """Return the plain local name of one file; INVALID, with an issue, for anything else."""
    code, detail = _fault(value, kind)
    if code:
        issues.add(code, place, detail)
        return INVALID
    return local_name(value)


def local_name(name: str) -> str:
    """Return a name without the scheme of a file:// URL."""
    return unquote(name[len(FILE_SCHEME) :]) if name[: len(FILE_SCHEME)].lower() == FILE_SCHEME else name


def is_image(name: Any) -> bool:
    """Return whether a name is that of an image, by its ending."""
    return isinstance(name, str) and name.lower().endswith(IMAGE_ENDINGS)


def _fault(value: Any, kind: MediaKind) -> tuple[str, str]:
    """Return the issue's code and detail; empty for a name that can be used."""
    if not isinstance(value, str):
        return "media_name_invalid", f"{shown(value)} where a file name belongs"
    name = local_name(value)
    if ADDRESS.match(name) or BASE64.match(name):
        return "media_address", f"{len(name)} characters of base64" if BASE64.match(name) else shown(name)
    if WINDOWS.match(name):
        return "media_name_windows", f"{shown(name)}; write it as {shown(_with_slashes(name))}"
    if problem := _name_problem(name):
        return "media_name_invalid", f"{shown(name)} {problem}"
    if name.lower().endswith(ENDINGS[OTHER[kind]]):
        return "media_kind", f"{shown(name)} as {'a video' if kind == 'video' else 'an image'}"
    return "", ""


def _name_problem(name: str) -> str:
    if not name.strip():
        return "is empty"
    if "\0" in name:
        return "holds a NUL"
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "is not Unicode"
    if len(encoded) > MAX_PATH_BYTES or max(map(len, encoded.split(b"/"))) > MAX_NAME_BYTES:
        return f"has a part of more than {MAX_NAME_BYTES} bytes"
    return ""


def _with_slashes(name: str) -> str:
    return re.sub(r"^[A-Za-z]:", "", name).replace("\\", "/").lstrip("/")
