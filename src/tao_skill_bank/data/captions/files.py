"""Finds the caption file of a clip: at the same path below metas/ or captions/ of its dataset, or next to it.

A dataset is a folder with videos/, metas/ and captions/. The clip DATASET/videos/DAY/NAME.mp4 has its caption in
DATASET/metas/DAY/NAME.txt; for a clip that is not below videos/, each folder above it is tried as DATASET.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tao_skill_bank.data import near_names

VIDEOS = "videos"
CAPTION_FOLDERS = ("metas", "captions")
SUFFIXES = (".txt", ".json")


@dataclass(frozen=True)
class Match:
    """The files that may hold a clip's caption, best first.

    Attributes:
        exact: files at the places of a caption.
        meets: files at those places whose names differ in case or Unicode form only; among them those of `exact`.
        elsewhere: files of the clip's name at no such place.

    """

    exact: tuple[PurePosixPath, ...]
    meets: tuple[PurePosixPath, ...]
    elsewhere: tuple[PurePosixPath, ...]


class CaptionFiles:
    """The caption files of a folder. Paths are compared as text: a folder may hold a hundred thousand of them."""

    def __init__(self, files: Sequence[PurePosixPath], videos: Sequence[PurePosixPath]) -> None:
        files = [file for file in files if file.suffix.lower() in SUFFIXES]
        self._exact = {lowered(file): file for file in reversed(files)}
        self._near: dict[str, list[PurePosixPath]] = {}
        self._by_name: dict[str, list[PurePosixPath]] = {}
        for file in files:
            self._near.setdefault(near_names.normal(file), []).append(file)
            self._by_name.setdefault(near_names.normal(file.name), []).append(file)
        self._sole = sole_folders(videos)
        self._folders: dict[tuple[PurePosixPath, str], list[str]] = {}

    def match(self, video: PurePosixPath, suffixes: Sequence[str] = SUFFIXES) -> Match:
        """Return what may be the caption of a clip; where there is an exact one, none from elsewhere."""
        places = [place for suffix in suffixes for place in self._places(video, suffix)]
        exact = [self._exact[place] for place in places if place in self._exact]
        near = dict.fromkeys(map(near_names.normal, exact or places))
        meets = [file for name in near for file in self._near.get(name, ())]
        if exact:
            return Match(tuple(exact), tuple(meets), ())
        names = [near_names.normal(video.stem + suffix) for suffix in suffixes]
        elsewhere = [file for name in names for file in self._by_name.get(name, ()) if file not in meets]
        return Match((), tuple(meets), tuple(elsewhere))

    def _places(self, video: PurePosixPath, suffix: str) -> list[str]:
        key = (video.parent, suffix)
        if key not in self._folders:
            self._folders[key] = list(dict.fromkeys(_caption_folders(video.parent, suffix, self._sole)))
        name = video.stem + suffix
        return [folder + name for folder in self._folders[key]]


def lowered(path: PurePosixPath) -> str:
    """Return a path with the ending in lower case, as text."""
    text = str(path)
    return text[: len(text) - len(path.suffix)] + path.suffix.lower()


def sole_folders(videos: Sequence[PurePosixPath]) -> Mapping[PurePosixPath, PurePosixPath]:
    """Return by folder the only folder in it that holds all clips below it; it stands for videos/."""
    below: dict[PurePosixPath, set[PurePosixPath]] = {}
    for parent in {video.parent for video in videos}:
        for above in (parent, *parent.parents):
            below.setdefault(above, set()).add(parent)
    return {
        above: next(iter(folders))
        for above, folders in below.items()
        if len(folders) == 1 and next(iter(folders)).parent == above and next(iter(folders)) != above
    }


def _caption_folders(parent: PurePosixPath, suffix: str, sole: Mapping[PurePosixPath, PurePosixPath]) -> Iterator[str]:
    """Yield the folders, as text before a name, where clips of a folder have their captions."""
    order = CAPTION_FOLDERS if suffix == ".txt" else CAPTION_FOLDERS[::-1]
    for dataset, below in _datasets(parent, sole):
        for name in order:
            yield f"{dataset / name / below}/"
    yield "" if parent == PurePosixPath() else f"{parent}/"


def _datasets(
    parent: PurePosixPath, sole: Mapping[PurePosixPath, PurePosixPath]
) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Yield the datasets that clips of a folder may belong to, with the path of the folder in each."""
    folders = parent.parts
    for position in reversed(range(len(folders))):
        if folders[position] == VIDEOS:
            yield PurePosixPath(*folders[:position]), PurePosixPath(*folders[position + 1 :])
    if sole.get(parent.parent) == parent:
        yield parent.parent, PurePosixPath()
    for dataset in (parent, *parent.parents):
        yield dataset, parent.relative_to(dataset)
