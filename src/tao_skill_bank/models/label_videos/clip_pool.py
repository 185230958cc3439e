"""The clips that are to be labelled: those of a folder, of a list, or those that annotations name."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tao_skill_bank.core import plain_text
from tao_skill_bank.data import folder_tree, media_suffixes, text_files
from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.data.text_files import EncodingError
from tao_skill_bank.errors import BlockedError

RECORDS, NAMES = (".json", ".jsonl", ".ndjson"), (".txt", ".lst")
PATH_KEYS = ("path", "media_path", "video_path")  # of objects that are no records
FIX = "Give a folder of mp4 files, a list (.txt, .jsonl) or annotations (.json)."


@dataclass(frozen=True)
class PoolClip:
    """A clip by its name relative to the pool's media folder, as records name it."""

    name: str
    path: Path


@dataclass(frozen=True)
class ClipPool:
    """Different clips in a fixed order, which need not exist, and the folder that contains all of them.

    Attributes:
        num_skipped: entries of a list that name no mp4 file.

    """

    media: Path
    clips: tuple[PoolClip, ...]
    num_skipped: int = 0

    @property
    def present(self) -> list[PoolClip]:
        """The clips that are there."""
        return [clip for clip in self.clips if clip.path.is_file()]


def usual_media(source: str) -> str:
    """Return what names are relative to where nothing else is said: a folder itself, the folder of a list."""
    is_list = PurePosixPath(source).suffix.lower() in (*RECORDS, *NAMES)
    return source.rpartition("/")[0] or "/" if is_list else source


def read(source: Path, media: Path) -> ClipPool:
    """Return the clips that a path names.

    Args:
        source: folder, list or annotations.
        media: folder that names in a list or in annotations are relative to.

    Raises:
        BlockedError: the path is missing or cannot be read, or names no clip.

    """
    if source.is_dir():
        files = folder_tree.walk(source).files
        found = [source / file for file in files if media_suffixes.is_clip(file)]
        return _pool(source, found, source, len(files) - len(found))
    if not source.exists():
        raise _refused(source, "does not exist")
    names = [*_names(source)]
    found = [_joined(media, name) for name in names if name and media_suffixes.is_clip(Path(name))]
    return _pool(media, found, source, len(names) - len(found))


def _pool(root: Path, paths: Sequence[Path], source: Path, num_skipped: int) -> ClipPool:
    if not paths:
        raise _refused(source, "names no mp4 file")
    unique = sorted(dict.fromkeys(paths))
    media = root
    if not all(path.is_relative_to(root) for path in unique):
        media = Path(os.path.commonpath([path.parent for path in unique]))
    clips = tuple(PoolClip(path.relative_to(media).as_posix(), path) for path in unique)
    return ClipPool(media, clips, num_skipped)


def _names(source: Path) -> Iterator[str]:
    """Yield the path of every entry of a list or of annotations; empty for an entry without a usable one."""
    suffix = source.suffix.lower()
    if suffix in RECORDS:
        for raw in stream_records(source):
            yield from (_usable(name) for name in _of_record(raw) or [""])
    elif suffix in NAMES:
        try:
            lines = text_files.read(source).text.splitlines()
        except (OSError, EncodingError) as error:
            raise _refused(source, f"cannot be read: {error}") from None
        yield from (_usable(line.strip()) for line in lines if line.strip())
    else:
        raise _refused(source, "is neither a folder nor a list")


def _of_record(raw: Any) -> list[str]:
    named = [media.name for media in media_of(raw) if media.kind == "video" and not media.frames]
    if named or not isinstance(raw, dict):
        return named
    return [name for key in PATH_KEYS if isinstance(name := raw.get(key), str)][:1]


def _usable(name: str) -> str:
    return "" if plain_text.fault_of_path(name) or "://" in name else name


def _joined(root: Path, name: str) -> Path:
    return Path(os.path.normpath(root.absolute() / name))


def _refused(source: Path, what: str) -> BlockedError:
    return BlockedError.of("clips_missing", f"{source} {what}.", FIX, path=str(source))
