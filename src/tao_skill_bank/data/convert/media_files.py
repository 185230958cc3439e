"""The media of records: looked up in the source, and placed in the result under the same names."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tao_skill_bank.core import locations
from tao_skill_bank.data import archive
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.media.clip_index import require_decoder
from tao_skill_bank.data.media_probe import container_rate
from tao_skill_bank.errors import BlockedError, RequestError

ARCHIVE_SECONDS = 24 * 3600.0
RESERVED = "annotations.json"


@dataclass(frozen=True)
class Found:
    """One file of the source, and its name in the result."""

    source: Path
    name: str


class MediaFiles:
    """Looks names up below a root; every name is reported at most once."""

    def __init__(self, root: Path, notes: Notes, *, moves: bool = False) -> None:
        self.root = root
        self.rates: dict[Path, float | None] = {}
        self._real_root = os.path.realpath(root)
        self._notes = notes
        self._moves = moves
        self._found: dict[str, Found | None] = {}
        self._placed: dict[str, Found] = {}

    @property
    def num_placed(self) -> int:
        return len(self._placed)

    def find(self, name: str, split: str, where: str) -> str | None:
        """Return the name in the result of a file that a record names; None, with a problem, for none that can be."""
        if name not in self._found:
            self._found[name] = self._look_up(name, where)
        found = self._found[name]
        if found is None:
            return None
        self._placed[f"{split}/{found.name}"] = found
        self._notes.use(self.root / found.name)
        return found.name

    def rate(self, name: str) -> float | None:
        """Return the rate of the container of a file that was found; None, with a problem, where it has none."""
        found = self._found[name]
        path = found.source if found else self.root
        if path not in self.rates:
            require_decoder()
            try:
                self.rates[path] = container_rate(path)
            except BlockedError as error:
                self.rates[path] = None
                self._notes.add(error.problems)
        return self.rates[path]

    def place(self, target: Path, *, links: bool) -> None:
        """Copy, link or move every file that was found below `target`."""
        if not links and not self._moves:
            self._require_space(target)
        for place, found in self._placed.items():
            path = target / place.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._put(found.source, path, links=links)
            except (FileNotFoundError, PermissionError) as error:
                self._notes.problem(
                    "media_unreadable", f"{found.source} cannot be placed: {error.strerror}.",
                    "Make the file readable.", str(found.source),
                )  # fmt: skip

    def _put(self, source: Path, path: Path, *, links: bool) -> None:
        if self._moves:
            os.link(source, path)  # its first name is removed with the scratch folder
        elif links:
            path.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, path)

    def _look_up(self, name: str, where: str) -> Found | None:
        path = self.root / name
        relative = os.path.relpath(os.path.normpath(path), os.path.normpath(self.root))
        if _leads_out(relative):
            relative = os.path.relpath(os.path.realpath(path), self._real_root)
        if _leads_out(relative) or relative == ".":
            message = f"{where} names {name}, which is outside of {self.root}."
            self._notes.problem("media_outside_root", message, "Give the common folder with --media-root.", where)
            return None
        if not path.is_file():
            message = f"{where} names {name}, which is not in {self.root}."
            fix = "Add the file, correct the name, or give the folder or archive of the media with --media-root."
            self._notes.problem("media_missing", message, fix, where)
            return None
        if relative == RESERVED:
            message = f"{where} names {name} as a medium, which is the name of the annotation file."
            self._notes.problem("media_name_reserved", message, "Rename the medium.", where)
            return None
        return Found(path, PurePosixPath(relative).as_posix())

    def _require_space(self, target: Path) -> None:
        needed = sum(found.source.stat().st_size for found in self._placed.values())
        free = shutil.disk_usage(target).free
        if needed > free:
            message = f"The media need {needed / 2**30:.1f} GiB, and {target.parent} has {free / 2**30:.1f} GiB."
            raise BlockedError.of("disk_full", message, "Free some space, or use --media link.", path=str(target))


def _leads_out(relative: str) -> bool:
    return PurePosixPath(relative).parts[:1] == ("..",)


def of_root(root: Path, wanted: Callable[[], set[str]], scratch: Path, notes: Notes) -> MediaFiles:
    """Return the media below a folder, or those members of a tar archive that are wanted.

    Raises:
        RequestError: the root is neither.
        BlockedError: the archive cannot be read or has unsafe members.

    """
    if root.is_dir():
        return MediaFiles(root, notes)
    if not (root.is_file() and locations.is_archive(root.name)):
        message = f"Media root {root} is neither a folder nor a tar archive."
        raise RequestError.of("media_root_not_folder", message, "Give a folder or a tar archive.", path=str(root))
    scratch.mkdir()
    plain = {PurePosixPath(name).as_posix() for name in wanted()}
    listing = archive.read(root, plain, scratch, ARCHIVE_SECONDS)
    if listing.error or listing.unsafe or not listing.is_complete:
        reason = listing.error or "it takes too long"
        what = f"has unsafe members: {listing.unsafe[:5]}" if listing.unsafe else f"cannot be read: {reason}"
        message = f"Archive {root} {what}."
        raise BlockedError.of("archive_unreadable", message, "Write it again with plain files.", path=str(root))
    notes.use(root)
    if unnamed := len(listing.names) - len(listing.extracted):
        notes.leave_out(f"members of {root.name} that no record shows", unnamed)
    members = scratch / "members"
    for name, file in listing.extracted.items():
        (members / name).parent.mkdir(parents=True, exist_ok=True)
        file.replace(members / name)
    members.mkdir(exist_ok=True)
    return MediaFiles(members, notes, moves=True)
