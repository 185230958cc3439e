"""Determines whether a path of a spec is a URI, an archive or a local place."""

from pathlib import Path

ARCHIVE_ENDINGS = (".tar.gz", ".tgz", ".tar")


def is_uri(path: str) -> bool:
    """Tell whether a path names something that is not on this machine's file system."""
    return "://" in path


def is_archive(path: str) -> bool:
    """Tell whether a media path names a tar archive."""
    return path.endswith(ARCHIVE_ENDINGS)


def nearest_existing(path: Path) -> Path:
    """Return `path` itself or its closest parent that exists."""
    candidates = [path.absolute(), *path.absolute().parents]
    return next(candidate for candidate in candidates if candidate.exists())
