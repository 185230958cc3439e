"""Folders that Hugging Face datasets writes with `save_to_disk`: Arrow streams, one folder per split."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tao_skill_bank.core.limits import MAX_CHARACTERS, TOO_LONG
from tao_skill_bank.data.convert import arrow_rows, safe_paths
from tao_skill_bank.data.convert.columns import Columns
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import Options, RawRecord, Target
from tao_skill_bank.data.json_stream import whole
from tao_skill_bank.errors import BlockedError

TITLE = "a folder written by save_to_disk of Hugging Face datasets"
TARGETS: tuple[Target, ...] = ("llava",)
SPLITS, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"


def detect(path: Path) -> bool:
    """Return whether a folder is a saved dataset, or a dictionary of them."""
    return (path / SPLITS).is_file() or (path / STATE).is_file()


def media_root(path: Path) -> Path:
    """Return the folder itself."""
    return path


def read(path: Path, options: Options, notes: Notes) -> Iterator[RawRecord]:
    """Yield the records of all splits."""
    columns = Columns(options.columns, notes)
    notes.use(path / SPLITS)
    for split in _splits(path):
        folder = path / split
        for name in (STATE, INFO):
            notes.use(folder / name)
        features = _document(folder / INFO).get("features") if (folder / INFO).exists() else None
        first = 0
        for file in _files(folder):
            notes.use(file)
            rows = arrow_rows.read_stream(file, features if isinstance(features, dict) else {})
            for record in arrow_rows.records(rows, file, columns, notes, split=split, first=first):
                first = record.index + 1
                yield record
    columns.finish(str(path))


def _splits(path: Path) -> list[str]:
    if not (path / SPLITS).is_file():
        return [""]
    splits = _document(path / SPLITS).get("splits")
    if not isinstance(splits, list) or not splits or not all(map(safe_paths.is_component, splits)):
        raise _invalid(path / SPLITS, "names no splits")
    return [str(split) for split in splits]


def _files(folder: Path) -> list[Path]:
    state = _document(folder / STATE)
    entries = state.get("_data_files")
    if state.get("_indices_data_files"):
        raise _invalid(folder / STATE, "selects rows by a table of indices (flatten_indices() removes it)")
    if not isinstance(entries, list):
        raise _invalid(folder / STATE, "names no files")
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    if not all(map(safe_paths.is_component, names)):
        raise _invalid(folder / STATE, "names files that are not in its folder")
    files = [folder / str(name) for name in names]
    if missing := [file.name for file in files if not file.is_file()]:
        raise _invalid(folder / STATE, f"names {len(missing)} files that are missing: {', '.join(missing[:5])}")
    return files


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
        value = whole(text) if len(text) <= MAX_CHARACTERS else TOO_LONG
    except (OSError, ValueError) as error:
        raise _invalid(path, f"cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise _invalid(path, "is not an object")
    return value


def _invalid(path: Path, what: str) -> BlockedError:
    message = f"{path} {what}."
    return BlockedError.of("dataset_invalid", message, "Download or save the dataset again.", path=str(path))
