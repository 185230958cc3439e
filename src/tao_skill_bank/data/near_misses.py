"""Finds the file that a missing name most likely means: one in another Unicode form or case."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path


def near_misses(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the files below a folder whose names differ from the given ones in Unicode form or case only."""
    folders: dict[Path, dict[str, str]] = {}
    found = {name: _resolved(root, name, folders) for name in names}
    return {name: near for name, near in found.items() if near and near != name}


def difference(name: str, near: str) -> str:
    """Return in which respect two names differ."""
    same_form = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", near)
    return "Unicode form" if same_form else "case"


def _resolved(root: Path, name: str, folders: dict[Path, dict[str, str]]) -> str:
    """Return the name with every part as it is on disk; empty where a part has no counterpart."""
    current, parts = root, []
    for part in Path(name).parts:
        near = part if (current / part).exists() else _listed(current, folders).get(_key(part), "")
        if not near:
            return ""
        parts.append(near)
        current /= near
    return "/".join(parts) if current.is_file() else ""


def _listed(folder: Path, folders: dict[Path, dict[str, str]]) -> dict[str, str]:
    if folder not in folders:
        try:
            folders[folder] = {_key(entry.name): entry.name for entry in folder.iterdir()}
        except OSError:
            folders[folder] = {}
    return folders[folder]


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
