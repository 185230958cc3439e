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
    """The caption files of a folder."""

    def __init__(self, files: Sequence[PurePosixPath], videos: Sequence[PurePosixPath]) -> None:
        self._files = [file for file in files if file.suffix.lower() in SUFFIXES]
        self._exact = {lowered(file): file for file in reversed(self._files)}
        self._near = near_names.grouped(self._files)
        self._by_name: dict[str, list[PurePosixPath]] = {}
        for file in self._files:
            self._by_name.setdefault(near_names.normal(file.name), []).append(file)
        self._sole = sole_folders(videos)

    def match(self, video: PurePosixPath, suffixes: Sequence[str] = SUFFIXES) -> Match:
        """Return what may be the caption of a clip."""
        exact: list[PurePosixPath] = []
        meets: list[PurePosixPath] = []
        elsewhere: list[PurePosixPath] = []
        for suffix in suffixes:
            places = list(dict.fromkeys(self._places(video, suffix)))
            exact += [self._exact[place] for place in places if place in self._exact]
            meets += [file for place in places for file in self._near.get(near_names.normal(place), ())]
            elsewhere += self._by_name.get(near_names.normal(video.with_suffix(suffix).name), ())
        return Match(tuple(exact), tuple(meets), tuple(file for file in elsewhere if file not in meets))

    def _places(self, video: PurePosixPath, suffix: str) -> Iterator[PurePosixPath]:
        folders = CAPTION_FOLDERS if suffix == ".txt" else CAPTION_FOLDERS[::-1]
        for dataset, below in _datasets(video, self._sole):
            for folder in folders:
                yield (dataset / folder / below).with_suffix(suffix)
        yield video.with_suffix(suffix)


def lowered(path: PurePosixPath) -> PurePosixPath:
    """Return a path with the ending in lower case."""
    return path.with_suffix(path.suffix.lower())


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


def _datasets(
    video: PurePosixPath, sole: Mapping[PurePosixPath, PurePosixPath]
) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Yield the datasets that a clip may belong to, with the path of the clip in each."""
    folders = video.parent.parts
    for position in reversed(range(len(folders))):
        if folders[position] == VIDEOS:
            yield PurePosixPath(*folders[:position]), PurePosixPath(*video.parts[position + 1 :])
    dataset = video.parent.parent
    if sole.get(dataset) == video.parent:
        yield dataset, PurePosixPath(video.name)
    for dataset in (video.parent, *video.parent.parents):
        yield dataset, video.relative_to(dataset)
