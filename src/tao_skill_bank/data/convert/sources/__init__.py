"""Formats that are converted, found by location: one file each, with `detect` and `read`.

A format is one module with the names of `Source`. Formats exclude each other: at most one recognises a path.
"""

import pkgutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import Episode, Options, RawRecord, Target
from tao_skill_bank.errors import BlockedError


class Source(Protocol):
    """One format.

    Attributes:
        TITLE: what it is called in messages.
        TARGETS: what it can become.

    """

    TITLE: str
    TARGETS: tuple[Target, ...]

    @staticmethod
    def detect(path: Path) -> bool:
        """Return whether a path holds this format; cheap, and without an optional dependency."""

    @staticmethod
    def read(path: Path, options: Options, notes: Notes) -> Iterator[RawRecord | Episode]:
        """Yield the records or episodes; what has no place and what is wrong is noted.

        Raises:
            BlockedError: the whole cannot be read.
            MissingExtraError: the format needs a module that is not installed.

        """

    @staticmethod
    def media_root(path: Path) -> Path:
        """Return the folder or archive that names of media are relative to."""


def all_sources() -> Sequence[Source]:
    """Return every format, by the names of their modules."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [cast(Source, import_module(f"{__name__}.{name}")) for name in names]


def find(path: Path) -> Source:
    """Return the format of a path. Raises BlockedError when there is none, or several."""
    if not path.exists():
        fix = "Give an existing path; tao-skills data stage URI FOLDER stages what lies in an object store."
        raise BlockedError.of("source_missing", f"{path} does not exist.", fix, path=str(path))
    known = all_sources()
    found = [source for source in known if source.detect(path)]
    if len(found) == 1:
        return found[0]
    if found:
        message = f"{path} holds several formats: {'; '.join(source.TITLE for source in found)}."
        raise BlockedError.of("source_ambiguous", message, "Give the path of one file.", path=str(path))
    message = f"{path} is in no format that is converted."
    fix = f"Give one of: {'; '.join(source.TITLE for source in known)}."
    raise BlockedError.of("source_unknown", message, fix, path=str(path))
