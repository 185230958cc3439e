"""Finds media files: in a folder, or in a tar archive, from which only the named members are extracted."""

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from tao_skill_bank.core import archives, settings
from tao_skill_bank.core.archives import ArchiveError
from tao_skill_bank.errors import BlockedError

ARCHIVE_ENDINGS = (".tar.gz", ".tgz", ".tar")


def open_media(media_path: str, names: Iterable[str]) -> Path:
    """Return the folder below which every name of `names` is found.

    An archive is read once per set of new names; members are cached in $TAO_STATE_DIR/cache/media, in a folder keyed by
    the archive's path, size and mtime. Only regular files with names inside the folder are extracted.

    Raises:
        BlockedError: the path does not exist, is not a folder or archive, or the archive lacks a member.

    """
    path = Path(media_path)
    if path.is_dir():
        return path
    if not path.is_file():
        raise _blocked("missing_media_path", f"Media path {media_path} does not exist.")
    if not media_path.endswith(ARCHIVE_ENDINGS):
        raise _blocked("media_path_kind", f"Media path {media_path} is neither a folder nor a tar archive.")
    wanted = {_inside(name) for name in names}
    folder = settings.state_dir() / "cache" / "media" / _identity(path)
    missing = {name for name in wanted if not (folder / name).is_file()}
    if missing:
        _extract(path, folder, missing)
    return folder


def _extract(archive: Path, folder: Path, missing: set[str]) -> None:
    try:
        left = missing - archives.extract(archive, {name: folder / name for name in missing})
    except ArchiveError as error:
        raise _blocked("archive_unreadable", f"Archive {archive} cannot be read: {error}.") from None
    except OSError as error:
        message = f"The media of {archive} cannot be extracted below {folder}: {error.strerror or error}."
        fix = (
            "Free disk space there, set TAO_STATE_DIR to a writable folder, or unpack the archive and give its folder."
        )
        raise BlockedError.of("media_not_extracted", message, fix, path=str(folder)) from None
    if left:
        first = sorted(left)[0]
        raise _blocked("missing_media", f"Archive {archive} lacks {len(left)} media files, such as {first}.")


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise _blocked("media_name", f"Media name {name} points outside the archive; names are relative to it.")
    return str(path)


def _identity(path: Path) -> str:
    status = path.stat()
    text = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _blocked(code: str, message: str) -> BlockedError:
    return BlockedError.of(
        code, message, "Give a folder, videos.tar.gz or images.tar.gz that contains the named media."
    )
