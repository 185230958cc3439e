"""Finds files of equal content: in one split, and in two of them."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import MAX_LISTED, info, listed, warning

HEAD_BYTES = 1 << 16


class Place(NamedTuple):
    """A file of a split."""

    split: str
    path: str


def equal_files(files: Mapping[str, Sequence[str]]) -> list[list[Place]]:
    """Return the groups of files with equal content, those of equal size alone being read.

    Args:
        files: the paths of every split; a path in two splits is equal to itself.

    """
    places: dict[str, list[Place]] = {}
    for split, paths in files.items():
        for path in dict.fromkeys(paths):
            places.setdefault(path, []).append(Place(split, path))
    groups = [list(places)]
    for key in (_size, _head, _whole):
        groups = [part for group in groups for part in _parts(group, key)]
    found = {path for group in groups for path in group}
    shared = [[place for path in group for place in places[path]] for group in groups]
    return shared + [group for path, group in places.items() if len(group) > 1 and path not in found]


def findings(where: str, groups: Sequence[Sequence[Place]]) -> list[Finding]:
    """Return what equal files mean: leaks between splits, and repeated clips inside of one."""
    splits = list(dict.fromkeys(place.split for group in groups for place in group))
    leaks = [found for pair in itertools.combinations(splits, 2) for found in _leak(where, pair, groups)]
    return [*leaks, *(found for split in splits for found in _repeated(where, split, groups))]


def _leak(where: str, pair: tuple[str, str], groups: Sequence[Sequence[Place]]) -> list[Finding]:
    one, other = pair
    shared = []
    for group in groups:
        here, there = ([place.path for place in group if place.split == split] for split in pair)
        if here and there:
            shared += [f"{_name(where, path)} = {_name(where, here[0])}" for path in there]
    if not shared:
        return []
    message = f"{len(shared)} media of {other} have the content of media of {one}: {listed(shared)}."
    fix = "Move every clip into one of the splits only: scores on what was trained on flatter the model."
    return [warning("split_leak", message, fix, where, splits=list(pair), files=shared[:MAX_LISTED], count=len(shared))]


def _repeated(where: str, split: str, groups: Sequence[Sequence[Place]]) -> list[Finding]:
    repeated = []
    for group in groups:
        first, *others = [place.path for place in group if place.split == split] or [""]
        repeated += [f"{_name(where, path)} = {_name(where, first)}" for path in others]
    if not repeated:
        return []
    of = f" of {split}" if split else ""
    message = f"{len(repeated)} media{of} have the content of another one under another name: {listed(repeated)}."
    return [info("media_repeated", message, where, files=repeated[:MAX_LISTED], count=len(repeated))]


def _parts(paths: Iterable[str], key: Callable[[str], object]) -> list[list[str]]:
    """Return the groups of two and more paths with the same key; files that cannot be read are left out."""
    groups: dict[object, list[str]] = {}
    for path in paths:
        try:
            groups.setdefault(key(path), []).append(path)
        except OSError:
            continue  # its header says so
    return [group for group in groups.values() if len(group) > 1]


def _size(path: str) -> int:
    return os.stat(path).st_size or -hash(path)  # noqa: PTH116 - empty files are not copies of each other


def _head(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return hashlib.blake2b(file.read(HEAD_BYTES)).digest()


def _whole(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, hashlib.blake2b).digest()


def _name(where: str, path: str) -> str:
    return path.removeprefix(f"{where}/")
