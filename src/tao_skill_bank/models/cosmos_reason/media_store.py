"""Finds media files: in a folder, or in a tar archive, from which only the named members are extracted."""

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from tao_skill_bank.core import settings
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
    folder.mkdir(parents=True, exist_ok=True)
    left = set(missing)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = str(PurePosixPath(member.name))
                if name in left and member.isfile() and not member.islnk():
                    _write_member(tar, member, folder / name)
                    left.discard(name)
                if not left:
                    break
    except tarfile.TarError as error:
        raise _blocked("archive_unreadable", f"Archive {archive} cannot be read: {error}.") from None
    if left:
        first = sorted(left)[0]
        raise _blocked("missing_media", f"Archive {archive} lacks {len(left)} media files, such as {first}.")


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write one member under a temporary name, then rename it: readers never see a partial file."""
    source = tar.extractfile(member)
    if source is None:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, work = tempfile.mkstemp(dir=target.parent)
    with os.fdopen(handle, "wb") as file:
        shutil.copyfileobj(source, file)
    Path(work).replace(target)


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
