"""Folders of captioned clips: videos/*.mp4 (or *.mp4 in the folder itself) and a caption for each.

The caption of NAME.mp4 is the first of
    metas/NAME.txt, captions/NAME.txt, NAME.txt next to the clip     the text itself
    captions/NAME.json, metas/NAME.json, NAME.json                   a string, or an object with the text
    metadata.csv, metadata.tsv, metadata.jsonl                       a row with the clip's path
at the clip's own path. Every file of the folder is read or named in an issue.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from tao_skill_bank.contracts import Finding
from tao_skill_bank.data import folder_tree, media_suffixes, near_names, text_files, unread_files
from tao_skill_bank.data.captions import json_captions
from tao_skill_bank.data.captions.files import CAPTION_FOLDERS, VIDEOS, CaptionFiles, Match
from tao_skill_bank.data.captions.tables import CaptionTables
from tao_skill_bank.data.clip_issues import ISSUE_TYPES, TABLES
from tao_skill_bank.data.folder_tree import FolderTree
from tao_skill_bank.data.issues import Issue, as_findings, as_problems
from tao_skill_bank.data.text_files import EncodingError
from tao_skill_bank.errors import Problem

CaptionSource = Literal["auto", "csv", "txt", "json"]
FOLDERS = (PurePosixPath(), *(PurePosixPath(name) for name in (VIDEOS, *CAPTION_FOLDERS)))
SUFFIXES = {"auto": (".txt", ".json"), "txt": (".txt",), "json": (".json",), "csv": ()}
CAPTION_PROBLEMS = ("captions_unreadable", "not_utf8", "names_ambiguous")  # the clip has a caption, which is not read


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
        """One problem per issue type that blocks; empty when every clip is usable."""
        return as_problems(self.issues, ISSUE_TYPES, self.folder)

    @property
    def findings(self) -> list[Finding]:
        """One finding per issue type: the problems, what is left out, and what was assumed."""
        return as_findings(self.issues, ISSUE_TYPES, self.folder)

    @property
    def captioned(self) -> tuple[Clip, ...]:
        """The clips that have a caption, and a name that no other clip has, nor one like it."""
        names = Counter(near_names.normal(clip.name) for clip in self.clips)
        return tuple(clip for clip in self.clips if clip.caption and names[near_names.normal(clip.name)] == 1)


def read(folder: Path, *, captions: CaptionSource = "auto", key: str = "", nested: bool = False) -> ClipFolder:
    """Read a folder of captioned clips. Issues are part of the result, never raised.

    Args:
        folder: the clips' folder.
        captions: the only caption source to read; auto takes the first that a clip has.
        key: CSV column or JSON key of the text; tried before the common ones.
        nested: read every subfolder and linked folder; otherwise their clips are named, but not read.

    """
    tree = folder_tree.walk(folder, lambda path: nested or path in FOLDERS)
    videos = _videos(tree.files, nested=nested)
    issues = _tree_issues(tree)
    if not videos:
        reason = _other_files(tree.files) if folder.is_dir() else "it does not exist"
        found = unread_files.find(tree.files, [], set(), ())
        return ClipFolder(folder, issues=(Issue("clips_missing", "", reason), *issues, *found))
    files = tree.files if nested else [file for file in tree.files if file.parent in FOLDERS]
    reader = _Captions(folder, files, videos, key, captions)
    clips = [clip for video in videos if (clip := reader.clip(video))]
    issues += [*_name_issues(videos), *reader.issues]
    if not clips:
        issues.insert(0, Issue("clips_missing", "", "all are left out for the place of their captions"))
    issues += unread_files.find(tree.files, videos, {*videos, *reader.used}, issues)
    return ClipFolder(folder, tuple(clips), tuple(issues))


class _Captions:
    """Finds and reads the captions of a folder's clips and collects the issues."""

    def __init__(
        self,
        folder: Path,
        files: Sequence[PurePosixPath],
        videos: Sequence[PurePosixPath],
        key: str,
        source: CaptionSource,
    ) -> None:
        self.used: set[PurePosixPath] = set()
        self._issues: list[Issue] = []
        self._folder, self._videos, self._key, self._source = folder, videos, key, source
        self._caption_files = CaptionFiles(files, videos)
        self._table_files = [file for name in TABLES for file in files if file.name == name]
        self._tables: CaptionTables | None = None

    @property
    def issues(self) -> list[Issue]:
        return [*self._issues, *(self._tables.issues if self._tables else ())]

    def clip(self, video: PurePosixPath) -> Clip | None:
        """Return the clip of a video with its caption; None where it is left out."""
        num_issues = len(self._issues)
        match = self._caption_files.match(video, SUFFIXES[self._source])
        found = self._from_files(match)
        if found is None and self._source in ("auto", "csv"):
            found = self._from_tables(video)
        text = found[0].strip() if found else ""
        if not text and not any(issue.code in CAPTION_PROBLEMS for issue in self._issues[num_issues:]):
            issue = Issue("caption_empty", str(video)) if found else self._missing(video, match)
            self._issues += [issue] if issue else []
            if issue and issue.code == "clips_deeper_than_captions":
                return None
        return Clip(video.stem, self._folder / video, text or None, found[1] if found else "")

    def _from_files(self, match: Match) -> tuple[str, str] | None:
        """Return the text and file of the first caption that can be read."""
        for file in match.exact:
            meets = [other for other in match.meets if near_names.normal(other) == near_names.normal(file)]
            self.used.update(meets)
            if len(meets) > 1:
                self._issues.append(Issue("names_ambiguous", str(file), ", ".join(map(str, meets))))
                return None
            try:
                found = text_files.read(self._folder / file)
                text = found.text
                if file.suffix.lower() == ".json":
                    text = json_captions.caption_in(json_captions.parse(text), self._key)
            except EncodingError as error:
                self._issues.append(Issue("not_utf8", str(file), str(error)))
                continue
            except (OSError, ValueError) as error:
                self._issues.append(Issue("captions_unreadable", str(file), _first_line(error)))
                continue
            if found.note:
                self._issues.append(Issue("text_assumed", str(file), found.note))
            return text, str(file)
        return None

    def _from_tables(self, video: PurePosixPath) -> tuple[str, str] | None:
        if self._tables is None:
            self._tables = CaptionTables(self._folder, self._table_files, self._videos, self._key)
            self.used.update(self._table_files)
        return self._tables.captions.get(video)

    def _missing(self, video: PurePosixPath, match: Match) -> Issue | None:
        """Return why a clip has no caption, with the file that comes near; None where the issue of a table says it."""
        if match.meets:
            near = match.meets[0]
            how = near_names.difference(video.stem, near.stem)
            self.used.update(match.meets)
            return Issue("caption_name_differs", str(video), f"{near} differs {how}")
        if self._tables and (self._tables.is_broken or video in self._tables.named):
            return None
        if not match.elsewhere:
            return Issue("caption_missing", str(video))
        self.used.update(match.elsewhere)
        code = "clips_deeper_than_captions" if _is_deeper(video, match.elsewhere) else "caption_elsewhere"
        return Issue(code, str(video), f"there is {', '.join(map(str, match.elsewhere))}")


def _is_deeper(video: PurePosixPath, captions: Sequence[PurePosixPath]) -> bool:
    """Return whether captions of a dataset lie side by side, and the clip in a folder below videos/."""
    parts = video.parent.parts
    if VIDEOS not in parts[:-1]:
        return False
    dataset = PurePosixPath(*parts[: parts.index(VIDEOS)])
    return all(file.parent in [dataset / name for name in CAPTION_FOLDERS] for file in captions)


def _videos(files: Sequence[PurePosixPath], *, nested: bool) -> list[PurePosixPath]:
    videos = sorted((file for file in files if media_suffixes.is_clip(file)), key=lambda file: (file.stem, file))
    if nested:
        return videos
    below = [video for video in videos if video.parent == PurePosixPath(VIDEOS)]
    return below or [video for video in videos if video.parent == PurePosixPath()]


def _tree_issues(tree: FolderTree) -> list[Issue]:
    issues = [Issue("folders_unreadable", str(path), reason) for path, reason in tree.unlisted]
    issues += [Issue("names_undecodable", name) for name in tree.undecodable]
    issues += [Issue("folders_linked", str(path)) for path in tree.followed if path not in FOLDERS]
    return [*issues, *(Issue("links_skipped", str(path)) for path in tree.skipped)]


def _name_issues(videos: Sequence[PurePosixPath]) -> list[Issue]:
    """Return the clips that share their name with another one, or all but share it."""
    counts = Counter(video.stem for video in videos)
    issues = [Issue("duplicate_names", str(video)) for video in videos if counts[video.stem] > 1]
    groups: dict[str, list[PurePosixPath]] = {}
    for video in videos:
        groups.setdefault(near_names.normal(video.stem), []).append(video)
    return issues + [
        Issue("names_ambiguous", str(video))
        for group in groups.values()
        if len({video.stem for video in group}) > 1
        for video in group
    ]


def _other_files(files: Sequence[PurePosixPath]) -> str:
    suffixes = sorted({file.suffix.lower() for file in files if file.suffix})
    return f"it holds {', '.join(suffixes)} files" if suffixes else "it is empty"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
