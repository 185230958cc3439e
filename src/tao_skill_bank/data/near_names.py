"""Names that a person takes for the same: they differ in upper and lower case or in their Unicode form only."""

from pathlib import PurePosixPath
from unicodedata import normalize


def normal(name: str | PurePosixPath) -> str:
    """Return what names have in common that are easily taken for the same."""
    text = str(name)
    return text.lower() if text.isascii() else normalize("NFC", normalize("NFC", text).casefold())


def difference(name: str, other: str) -> str:
    """Return how two names differ that have the same normal form."""
    return "in its Unicode form" if normalize("NFC", name) == normalize("NFC", other) else "in upper and lower case"
