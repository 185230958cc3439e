"""Folders of captioned clips: videos/*.mp4 (or *.mp4 in the folder itself) and a caption for each.

The caption of NAME.mp4 is the first of
    metas/NAME.txt, NAME.txt next to the clip            the text itself
    captions/NAME.json, metas/NAME.json, NAME.json      a string, or an object with the text under a known key
    metadata.csv                                        columns file_name and prompt, or common aliases
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from tao_skill_bank.data import caption_csv
from tao_skill_bank.data.issues import Issue, IssueType, as_problems
from tao_skill_bank.errors import Problem

CaptionSource = Literal["auto", "csv", "txt", "json"]
VIDEO_SUFFIX = ".mp4"
CSV_NAME = "metadata.csv"
FOLDERS = ("", "videos", "metas", "captions")
# Keys of a JSON caption; the last three come from captioners that write several lengths.
JSON_KEYS = ("prompt", "caption", "text", "long", "medium", "short")

ISSUE_TYPES = {
    "clips_missing": IssueType(
        "no clips", "Put mp4 files into it, or into videos/ below it; other formats are not read.", counted=False
    ),
    "duplicate_names": IssueType(
        "clip{s} with the name of another clip",
        "Rename them: captions, caches and results are keyed by the clip's name.",
    ),
    "captions_unreadable": IssueType(
        "caption file{s} that cannot be read", "Write UTF-8 text; a JSON caption is a string or {prompt: TEXT}."
    ),
    "csv_row_invalid": IssueType(
        "row{s} that cannot be used", "Give every row a file name and a prompt, and quote prompts that hold commas."
    ),
    "csv_file_missing": IssueType("row{s} of missing clips", "Correct the name, add the clip, or drop the rows."),
    "csv_duplicate_rows": IssueType("row{s} that repeat a clip", "Keep one row per clip."),
    "caption_missing": IssueType(
        "clip{s} without a caption", f"Write metas/NAME.txt, captions/NAME.json or a row of {CSV_NAME}, or drop them."
    ),
    "caption_empty": IssueType("clip{s} with an empty caption", "Write what happens in the clip, or drop them."),
}


@dataclass(frozen=True)
class Clip:
    """A clip and its caption.

    Attributes:
        name: the file's name without its ending; unique in a valid folder.
        caption: stripped text; None when there is none, or an empty one.
        caption_source: the file that holds the caption, relative to the folder; empty when there is none.

    """

    name: str
    video: Path
    caption: str | None
    caption_source: str = ""


@dataclass(frozen=True)
class ClipFolder:
    """What a folder holds: its clips in the order of their names, and the issues found in them."""

    folder: Path
    clips: tuple[Clip, ...] = ()
    issues: tuple[Issue, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One problem per issue type; empty when every clip is usable."""
        return as_problems(self.issues, ISSUE_TYPES, self.folder)

    @property
    def captioned(self) -> tuple[Clip, ...]:
        """The clips that have a caption."""
        return tuple(clip for clip in self.clips if clip.caption)


def read(folder: Path, *, captions: CaptionSource = "auto", key: str = "", nested: bool = False) -> ClipFolder:
    """Read a folder of captioned clips. Issues are part of the result, never raised.

    Args:
        folder: the clips' folder.
        captions: the only caption source to read; auto takes the first that a clip has.
        key: CSV column or JSON key of the text; tried before the common ones.
        nested: search every subfolder for clips and captions.

    """
    files = _files(folder, nested=nested)
    videos = _videos(files, nested=nested)
    if not videos:
        reason = "it does not exist" if not folder.is_dir() else _other_files(files)
        return ClipFolder(folder, issues=(Issue("clips_missing", "", reason),))
    reader = _Captions(folder, files, videos, key)
    counts = Counter(video.stem for video in videos)
    reader.issues += [Issue("duplicate_names", str(video)) for video in videos if counts[video.stem] > 1]
    clips = [reader.clip(video, captions) for video in sorted(videos, key=lambda video: (video.stem, video))]
    return ClipFolder(folder, tuple(clips), tuple(reader.issues))


class _Captions:
    """Finds and reads the captions of a folder's clips and collects the issues."""

    def __init__(self, folder: Path, files: Sequence[PurePosixPath], videos: Sequence[PurePosixPath], key: str) -> None:
        self.issues: list[Issue] = []
        self._folder, self._files, self._key = folder, set(files), key
        self._by_name: dict[str, list[PurePosixPath]] = {}
        for file in files:
            self._by_name.setdefault(file.name, []).append(file)
        self._videos = videos
        self._csv: dict[PurePosixPath, tuple[str, str]] | None = None
        self._csv_is_broken = False

    def clip(self, video: PurePosixPath, captions: CaptionSource) -> Clip:
        """Return the clip of a video with its caption."""
        num_issues = len(self.issues)
        found: tuple[str, str] | None = None
        for kind in ("txt", "json", "csv") if captions == "auto" else (captions,):
            found = self._from_csv(video) if kind == "csv" else self._from_file(video, kind)
            if found:
                break
        text = found[0].strip() if found else ""
        is_reported = self._csv_is_broken or any(
            issue.code == "captions_unreadable" for issue in self.issues[num_issues:]
        )
        if not text and not is_reported:
            self.issues.append(Issue("caption_empty" if found else "caption_missing", str(video)))
        return Clip(video.stem, self._folder / video, text or None, found[1] if found else "")

    def _from_file(self, video: PurePosixPath, kind: str) -> tuple[str, str] | None:
        file = self._caption_file(video, kind)
        if file is None:
            return None
        try:
            text = (self._folder / file).read_text(encoding="utf-8-sig")
            if kind == "json":
                text = caption_in(json.loads(text), self._key)
        except (OSError, ValueError, RecursionError) as error:
            self.issues.append(Issue("captions_unreadable", str(file), _first_line(error)))
            return None
        return text, str(file)

    def _caption_file(self, video: PurePosixPath, kind: str) -> PurePosixPath | None:
        name = f"{video.stem}.{kind}"
        folders = ("captions", "metas") if kind == "json" else ("metas", "captions")
        places = [*(PurePosixPath(folder, name) for folder in folders), video.with_name(name)]
        return next((place for place in places if place in self._files), None) or next(
            iter(self._by_name.get(name, ())), None
        )

    def _from_csv(self, video: PurePosixPath) -> tuple[str, str] | None:
        if self._csv is None:
            self._csv = dict(self._rows())
        return self._csv.get(video)

    def _rows(self) -> Iterator[tuple[PurePosixPath, tuple[str, str]]]:
        """Yield the caption and the source of every row that names a clip."""
        taken: set[PurePosixPath] = set()
        find = _Finder(self._videos)
        for file in self._by_name.get(CSV_NAME, []):
            table = caption_csv.read(self._folder / file, self._key)
            self._csv_is_broken |= any(issue.code == "captions_unreadable" for issue in table.issues)
            self.issues += [Issue(issue.code, _in(file, issue.item), issue.detail) for issue in table.issues]
            for row in table.rows:
                where = f"{file} line {row.line}"
                video = find(row.file_name, file.parent)
                if video is None:
                    self.issues.append(Issue("csv_file_missing", where, row.file_name))
                elif video in taken:
                    self.issues.append(Issue("csv_duplicate_rows", where, row.file_name))
                else:
                    taken.add(video)
                    yield video, (row.caption, str(file))


class _Finder:
    """Finds the clip that a CSV row refers to: by path, else by file name, else by stem."""

    def __init__(self, videos: Sequence[PurePosixPath]) -> None:
        self._paths = set(videos)
        self._by_name = {video.name: video for video in reversed(videos)}
        self._by_stem = {video.stem: video for video in reversed(videos)}

    def __call__(self, name: str, base: PurePosixPath) -> PurePosixPath | None:
        path = PurePosixPath(name.replace("\\", "/"))
        if (base / path) in self._paths:
            return base / path
        return self._by_name.get(path.name) or self._by_stem.get(path.name)


def caption_in(value: Any, key: str = "") -> str:
    """Return the caption that a JSON value holds.

    A string is the caption. For an object, the first known key is used, else its only key; the value may be
    another object: {"caption": {"long": TEXT}}, {"captioner-7b": {"long": TEXT, "short": TEXT}}.

    Raises:
        ValueError: there is no caption, or it is ambiguous.

    """
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or not value:
        raise ValueError("it has no text")
    names = [name for name in (key, *JSON_KEYS) if name in value] or (list(value) if len(value) == 1 else [])
    if not names:
        raise ValueError(f"it has no known key: {', '.join(map(str, value))}")
    return caption_in(value[names[0]], key)


def _files(folder: Path, *, nested: bool) -> list[PurePosixPath]:
    """Return the relevant files, relative to the folder, sorted; hidden files and folders are skipped."""
    found: list[PurePosixPath] = []
    for name in ("",) if nested else FOLDERS:
        for parent, folders, files in os.walk(folder / name):
            folders[:] = sorted(entry for entry in folders if nested and not entry.startswith("."))
            base = PurePosixPath(Path(parent).relative_to(folder).as_posix())
            found += [base / file for file in sorted(files) if not file.startswith(".")]
    return found


def _videos(files: Iterable[PurePosixPath], *, nested: bool) -> list[PurePosixPath]:
    videos = [file for file in files if file.suffix.lower() == VIDEO_SUFFIX]
    if nested:
        return videos
    below = [video for video in videos if video.parent.name == "videos"]
    return below or [video for video in videos if video.parent == PurePosixPath()]


def _other_files(files: Sequence[PurePosixPath]) -> str:
    suffixes = sorted({file.suffix.lower() for file in files if file.suffix})
    return f"it holds {', '.join(suffixes)} files" if suffixes else "it is empty"


def _first_line(error: BaseException) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return (str(error).splitlines() or [type(error).__name__])[0]


def _in(file: PurePosixPath, item: str) -> str:
    return f"{file} {item}" if item else str(file)
