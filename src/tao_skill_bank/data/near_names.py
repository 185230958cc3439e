"""Names that a person takes for the same: they differ in upper and lower case or in their Unicode form only."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from unicodedata import normalize


def normal(name: str | PurePosixPath) -> str:
    """Return what names have in common that are easily taken for the same."""
    return normalize("NFC", normalize("NFC", str(name)).casefold())


def difference(name: str, other: str) -> str:
    """Return how two names differ that have the same normal form."""
    return "in its Unicode form" if normalize("NFC", name) == normalize("NFC", other) else "in upper and lower case"


def grouped(paths: Iterable[PurePosixPath]) -> dict[str, list[PurePosixPath]]:
    """Return paths by the normal form of the whole path."""
    groups: dict[str, list[PurePosixPath]] = {}
    for path in paths:
        groups.setdefault(normal(path), []).append(path)
    return groups
