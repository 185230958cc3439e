"""Names that a person takes for the same: they differ in upper and lower case or in their Unicode form only."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from unicodedata import normalize


def normal(name: str | PurePosixPath) -> str:
    """Return what names have in common that are easily taken for the same."""
    text = str(name)
    return text.lower() if text.isascii() else normalize("NFC", normalize("NFC", text).casefold())


def difference(name: str, other: str) -> str:
    """Return how two names differ that have the same normal form."""
    return "in its Unicode form" if normalize("NFC", name) == normalize("NFC", other) else "in upper and lower case"


def near_misses(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the files below a folder whose names differ from the given ones in Unicode form or case only."""
    folders: dict[Path, dict[str, str]] = {}
    found = {name: _resolved(root, name, folders) for name in names}
    return {name: near for name, near in found.items() if near and near != name}


def _resolved(root: Path, name: str, folders: dict[Path, dict[str, str]]) -> str:
    """Return the name with every part as it is on disk; empty where a part has no counterpart."""
    current, parts = root, []
    for part in Path(name).parts:
        near = part if (current / part).exists() else _listed(current, folders).get(normal(part), "")
        if not near:
            return ""
        parts.append(near)
        current /= near
    return "/".join(parts) if current.is_file() else ""


def _listed(folder: Path, folders: dict[Path, dict[str, str]]) -> dict[str, str]:
    if folder not in folders:
        try:
            folders[folder] = {normal(entry.name): entry.name for entry in folder.iterdir()}
        except OSError:
            folders[folder] = {}
    return folders[folder]
