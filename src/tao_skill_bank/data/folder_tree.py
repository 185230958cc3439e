"""Lists the files below a folder: linked folders at most once and without loops, hidden files and folders never."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass
class FolderTree:
    """What lies below a folder. All paths are relative to it, and sorted.

    Attributes:
        files: everything but folders, links that lead nowhere included.
        followed: linked folders whose files are among `files`.
        skipped: linked folders whose files are not: not asked for, or they lead to files that are read elsewhere.
        unlisted: folders that cannot be listed, with the reason.
        undecodable: files whose names are not UTF-8, written with escapes.

    """

    files: list[PurePosixPath] = field(default_factory=list)
    followed: list[PurePosixPath] = field(default_factory=list)
    skipped: list[PurePosixPath] = field(default_factory=list)
    unlisted: list[tuple[PurePosixPath, str]] = field(default_factory=list)
    undecodable: list[str] = field(default_factory=list)


def walk(folder: Path, follows: Callable[[PurePosixPath], bool] = lambda _: True) -> FolderTree:
    """Return what lies below a folder; nothing for a folder that does not exist. `follows` chooses linked folders."""
    tree = FolderTree()
    if not folder.is_dir():
        return tree
    read = [folder.resolve()]
    waiting = [PurePosixPath()]
    while waiting:
        for path, is_folder, is_link in _entries(folder, waiting.pop(), tree):
            if not is_folder:
                _add(tree, path)
            elif not is_link:
                waiting.append(path)
            elif follows(path) and _is_apart((folder / path).resolve(), read):
                read.append((folder / path).resolve())
                tree.followed.append(path)
                waiting.append(path)
            else:
                tree.skipped.append(path)
    for paths in (tree.files, tree.followed, tree.skipped, tree.unlisted, tree.undecodable):
        paths.sort(key=str)
    return tree


def _entries(folder: Path, below: PurePosixPath, tree: FolderTree) -> list[tuple[PurePosixPath, bool, bool]]:
    """Return the entries of a folder that are not hidden: path, whether it leads to a folder, whether it is a link."""
    try:
        with os.scandir(folder / below) as entries:
            found = [(entry.name, os.path.isdir(entry.path), entry.is_symlink()) for entry in entries]  # noqa: PTH112
    except OSError as error:
        tree.unlisted.append((below, error.strerror or type(error).__name__))
        return []
    return [(below / name, is_folder, is_link) for name, is_folder, is_link in sorted(found) if name[0] != "."]


def _add(tree: FolderTree, path: PurePosixPath) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        tree.undecodable.append(str(path).encode(errors="surrogateescape").decode(errors="backslashreplace"))
    else:
        tree.files.append(path)


def _is_apart(target: Path, read: list[Path]) -> bool:
    """Return whether neither a folder that is read contains the target, nor the target one of those."""
    if any(root.is_relative_to(target) for root in read):
        return False
    return not any(
        target.is_relative_to(root) and not any(part.startswith(".") for part in target.relative_to(root).parts)
        for root in read
    )
