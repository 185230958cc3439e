"""Files by the ending of their names: what is read as a clip or picture, and what only looks like one."""

from pathlib import Path, PurePath

CLIPS = (".mp4",)  # what is read; datasets, results and public tools exchange clips in this container
OTHER_CLIPS = (".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".ogv", ".3gp")
PICTURES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")
OTHER_PICTURES = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".exr", ".hdr", ".tga", ".dng", ".raw")
CONVERT_CLIP = "ffmpeg -i IN -c copy OUT.mp4 (or -c:v libx264 -crf 12 where that fails)"
CONVERT_PICTURE = "ffmpeg -i IN OUT.png"


def is_clip(path: PurePath) -> bool:
    """Return whether a file is read as a clip."""
    return path.suffix.lower() in CLIPS


def is_other_clip(path: PurePath) -> bool:
    """Return whether a file is a clip in a container that is not read."""
    return path.suffix.lower() in OTHER_CLIPS


def is_picture(path: PurePath) -> bool:
    """Return whether a file is read as a picture."""
    return path.suffix.lower() in PICTURES


def is_other_picture(path: PurePath) -> bool:
    """Return whether a file is a picture in a format that is not read."""
    return path.suffix.lower() in OTHER_PICTURES


def clips_in(folder: Path) -> list[Path]:
    """Return the clips that lie in a folder itself, sorted; none for a folder that does not exist."""
    files = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in files if is_clip(path) and path.is_file() and not path.name.startswith("."))
