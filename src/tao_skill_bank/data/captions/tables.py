"""Finds which clip a row of a table names: by its path from the table's folder, or from videos/ next to the table."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tao_skill_bank.data import near_names
from tao_skill_bank.data.captions import csv_tables, line_tables
from tao_skill_bank.data.captions.files import CAPTION_FOLDERS, VIDEOS, lowered, sole_folders
from tao_skill_bank.data.captions.rows import Row, Table
from tao_skill_bank.data.issues import Issue

LINES_SUFFIX = ".jsonl"
BROKEN = ("captions_unreadable", "csv_quotes", "not_utf8")  # any clip may have lost its caption


class CaptionTables:
    """The captions in the tables of a folder.

    Attributes:
        captions: by clip, the text and the table that holds it.
        issues: what is wrong with the tables.
        named: clips that a row seems to mean without naming them exactly; an issue says so.
        is_broken: some row or table could not be read, so that a clip without a caption may be one of those.

    """

    def __init__(
        self, folder: Path, tables: Sequence[PurePosixPath], videos: Sequence[PurePosixPath], key: str
    ) -> None:
        self.captions: dict[PurePosixPath, tuple[str, str]] = {}
        self.issues: list[Issue] = []
        self.named: set[PurePosixPath] = set()
        self._folder, self._key = folder, key
        self._find = _Finder(folder, videos)
        for file in tables:
            self._add(file)
        self.is_broken = any(issue.code in BROKEN for issue in self.issues)

    def _read(self, file: PurePosixPath, base: PurePosixPath) -> Table:
        if file.suffix.lower() == LINES_SUFFIX:
            return line_tables.read(self._folder / file, self._key)
        return csv_tables.read(self._folder / file, self._key, lambda name: self._find(name, base) is not None)

    def _add(self, file: PurePosixPath) -> None:
        base = file.parent.parent if file.parent.name in CAPTION_FOLDERS else file.parent
        table = self._read(file, base)
        self.issues += [Issue(issue.code, _in(file, issue.item), issue.detail) for issue in table.issues]
        if assumed := self._find.assumed_folder(base, [row.file_name for row in table.rows]):
            self.issues.append(Issue("table_assumed", str(file), f"its names are those of clips in {assumed}/"))
        taken: set[PurePosixPath] = set()
        for row in table.rows:
            where = f"{file} line {row.line}"
            video = self._find(row.file_name, base)
            if video is None:
                issue, near = self._find.explain(row, base, where)
                self.issues.append(issue)
                self.named |= {near} if near else set()
            elif video in taken or self.captions.get(video, (row.caption,))[0] != row.caption:
                self.issues.append(Issue("csv_duplicate_rows", where, row.file_name))
            else:
                taken.add(video)
                self.captions.setdefault(video, (row.caption, str(file)))


class _Finder:
    """Finds the clip that a row refers to: its path with or without ending, and none for a name somewhere else."""

    def __init__(self, folder: Path, videos: Sequence[PurePosixPath]) -> None:
        self._folder = folder.absolute()
        self._by_path = {lowered(video.with_suffix("")): video for video in reversed(videos)}
        self._by_path |= {lowered(video): video for video in reversed(videos)}
        self._near: dict[str, str] = {}
        self._by_name: dict[str, PurePosixPath] = {}
        for path, video in self._by_path.items():
            self._near.setdefault(near_names.normal(path), path)
            self._by_name.setdefault(near_names.normal(path.rpartition("/")[2]), video)
        self._sole = sole_folders(videos)

    def __call__(self, name: str, base: PurePosixPath) -> PurePosixPath | None:
        places = self._places(name, base)
        return next((self._by_path[place] for place in places if place in self._by_path), None)

    def assumed_folder(self, base: PurePosixPath, names: Sequence[str]) -> PurePosixPath | None:
        """Return the folder other than videos/ whose clips are named without it, if there is one."""
        folder = self._sole.get(base)
        if folder is None or folder == base / VIDEOS:
            return None
        is_assumed = any((video := self(name, base)) and video.name == name for name in names)
        return folder if is_assumed else None

    def explain(self, row: Row, base: PurePosixPath, where: str) -> tuple[Issue, PurePosixPath | None]:
        """Return the issue of a row that names no clip, and the clip that it seems to mean."""
        places = self._places(row.file_name, base)
        for place in places:
            if path := self._near.get(near_names.normal(place)):
                video, how = self._by_path[path], near_names.difference(place, path)
                return Issue("csv_name_differs", where, f"{row.file_name}: {video} differs {how}"), video
        other = self._by_name.get(near_names.normal(places[0].rpartition("/")[2])) if places else None
        if other:
            return Issue("csv_clip_elsewhere", where, f"{row.file_name}: there is {other}"), other
        return Issue("csv_file_missing", where, row.file_name), None

    def _places(self, name: str, base: PurePosixPath) -> list[str]:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() and path.is_relative_to(self._folder.as_posix()):
            return [lowered(path.relative_to(self._folder.as_posix()))]
        folders = [base, base / VIDEOS, *([self._sole[base]] if base in self._sole else [])]
        return [lowered(folder / path) for folder in folders if path.name]


def _in(file: PurePosixPath, item: str) -> str:
    return f"{file} {item}" if item else str(file)
