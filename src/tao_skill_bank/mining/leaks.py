"""Which clips of a pool must not be mined, and why: they leak into held-out sets, or cannot be used."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tao_skill_bank.core import regular_files
from tao_skill_bank.data.check import contents, near_copies
from tao_skill_bank.data.check.near_copies import Fingerprint
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.mining.held_out import HeldOut
from tao_skill_bank.mining.mined_log import Mined

Reason = Literal[
    "embedding_unusable",
    "repeated_row",
    "without_record",
    "same_file_held_out",
    "same_content_held_out",
    "near_duplicate_held_out",
    "same_source_held_out",
    "mined_before",
    "copy_in_pool",
    "changed_since_embedded",
    "unreadable",
]
NUM_WORKERS = 2
BYTES_AT_ONCE = 1 << 20
HELD_OUT, POOL = "held out", "pool"


@dataclass(frozen=True)
class Excluded:
    """Why a clip is not mined; `other` is what it equals or resembles, or what is wrong with it."""

    reason: Reason
    other: str = ""


@dataclass
class Checker:
    """Looks at clips that are about to be mined, each once.

    Attributes:
        held_out: the clips that must not be mined.
        mined: what was mined before, where nothing is mined twice.
        compares_frames: whether near-duplicates are looked for.
        contents: SHA-256 of each checked file that may be mined as far as its bytes go.
        excluded: which files must not be mined.
        prints, held_out_prints: what checked clips and held-out ones look like.
        unread: held-out files that could not be compared, and why.

    """

    held_out: HeldOut
    mined: Mined
    compares_frames: bool = True
    contents: dict[str, str] = field(default_factory=dict)
    prints: dict[str, Fingerprint] = field(default_factory=dict)
    held_out_prints: dict[str, Fingerprint] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, Excluded] = field(default_factory=dict)

    def check(self, clips: Mapping[str, str | None]) -> dict[str, Excluded]:
        """Return which clips must not be mined, of those that were not checked before.

        Args:
            clips: file -> the content that it had when it was embedded, None where that is not known.

        """
        new = sorted(clips.keys() - self.contents.keys() - self.excluded.keys())
        found: dict[str, Excluded] = {}
        with ThreadPoolExecutor(NUM_WORKERS) as pool:
            for path, content in zip(new, pool.map(_content, new), strict=True):
                if excluded := self._by_content(content, clips[path]):
                    found[path] = excluded
                else:
                    self.contents[path] = str(content)
            found |= self._copies([path for path in new if path not in found])
            if self.compares_frames:
                found |= self._near_copies([path for path in new if path not in found], pool)
        self.excluded |= found
        return found

    def held_out_equals(self, paths: Sequence[str]) -> bool:
        """Return whether every one of some files is held out, by path or content."""
        known = set(self.held_out.paths)
        others = [path for path in paths if path not in known]
        return len(_equal_to_held_out(others, self.held_out.paths)) == len(others)

    def _by_content(self, content: str | OSError, stated: str | None) -> Excluded | None:
        if isinstance(content, OSError):
            return Excluded("unreadable", content.strerror or str(content))
        if content in self.mined.contents:
            return Excluded("mined_before")
        return Excluded("changed_since_embedded") if stated and stated != content else None

    def _copies(self, paths: Sequence[str]) -> dict[str, Excluded]:
        found = {
            path: Excluded("same_content_held_out", other)
            for path, other in _equal_to_held_out(paths, self.held_out.paths).items()
        }
        first = {content: path for path, content in reversed(self.contents.items()) if path not in self.excluded}
        for path in paths:
            if path not in found and first[self.contents[path]] != path:
                found[path] = Excluded("copy_in_pool", first[self.contents[path]])
        return found

    def _near_copies(self, paths: Sequence[str], pool: ThreadPoolExecutor) -> dict[str, Excluded]:
        found: dict[str, Excluded] = {}
        for path, seen in near_copies.fingerprints(paths, pool).items():
            if isinstance(seen, BlockedError):
                found[path] = Excluded("unreadable", str(seen))
            else:
                self.prints[path] = seen
        unknown = [path for path in self.held_out.paths if path not in self.held_out_prints and path not in self.unread]
        for path, seen in near_copies.fingerprints(unknown, pool).items():
            if isinstance(seen, BlockedError):
                self.unread[path] = str(seen)
            else:
                self.held_out_prints[path] = seen
        shown = {path: self.prints[path] for path in paths if path in self.prints}
        alike = near_copies.copies(shown, self.held_out_prints)
        return found | {path: Excluded("near_duplicate_held_out", other) for path, other in alike.items()}


def _equal_to_held_out(paths: Sequence[str], held_out: Sequence[str]) -> dict[str, str]:
    """Return which files have the content of a held-out one, and of which."""
    found: dict[str, str] = {}
    for group in contents.equal_files({HELD_OUT: held_out, POOL: paths}):
        theirs = next((place.path for place in group if place.split == HELD_OUT), None)
        if theirs is not None:
            found |= {place.path: theirs for place in group if place.split == POOL}
    return found


def _content(path: str) -> str | OSError:
    digest = hashlib.sha256()
    try:
        with regular_files.opened(Path(path)) as file:
            while data := file.read(BYTES_AT_ONCE):
                digest.update(data)
    except OSError as error:
        return error
    return digest.hexdigest()
