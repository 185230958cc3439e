"""Finds out what a path holds: the kind of its data, and its splits."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Input
from tao_skill_bank.data import dataset_root, media_suffixes
from tao_skill_bank.data.captions.files import CAPTION_FOLDERS, VIDEOS
from tao_skill_bank.data.clip_issues import TABLES
from tao_skill_bank.errors import BlockedError, RequestError

KINDS = ("annotations", "captioned_clips", "class_folders", "clips", "prompt_pairs")
SPLITS = {"train": "train", "training": "train", "val": "eval", "valid": "eval", "validation": "eval", "dev": "eval"}
SPLITS |= {"eval": "eval", "test": "eval"}
RECORDS = (".json", ".jsonl", ".ndjson")
FIX = f"Name it: --kind {'|'.join(KINDS)}"


@dataclass(frozen=True)
class Part:
    """One split of a dataset, or all of it; `name` is empty then."""

    name: str
    input: Input


@dataclass(frozen=True)
class Options:
    """What a kind's inputs are read with: options by kind, and the folder of annotations' media, if not their own."""

    by_kind: dict[str, dict[str, Any]] = field(default_factory=dict)
    media: Path | None = None


def parts(path: Path, kind: str | None = None, options: Options | None = None) -> list[Part]:
    """Return the splits of a dataset with what each of them is read as.

    Raises:
        BlockedError: there is nothing at the path, or it is not clear what it is.
        RequestError: the kind is unknown.

    """
    if kind is not None and kind not in KINDS:
        raise RequestError.of("unknown_kind", f"There is no kind of data '{kind}'.", FIX, path="--kind")
    if not path.exists():
        raise BlockedError.of("data_missing", f"{path} does not exist.", "Give an existing path.", path=str(path))
    places = _splits(path) or {"": path}
    options = options or Options()
    return [Part(name, _input(name, place, kind or _kind_of(place), options)) for name, place in places.items()]


def _splits(path: Path) -> dict[str, Path]:
    """Return the folders of splits, in the usual order; none where the path is a dataset itself."""
    is_dataset = Path(dataset_root.annotations_in(str(path))).is_file() or bool(media_suffixes.clips_in(path))
    if not path.is_dir() or is_dataset:
        return {}
    return {name: path / name for name in SPLITS if (path / name).is_dir()}


def _input(name: str, place: Path, kind: str, options: Options) -> Input:
    role = SPLITS.get(name, "train")
    if kind != "annotations":
        return Input(role, kind, {"path": str(place)}, options.by_kind.get(kind, {}))
    file = (_annotation_file(place) or Path(dataset_root.annotations_in(str(place)))) if place.is_dir() else place
    media = str(options.media) if options.media else dataset_root.media_in(str(file.parent))
    return Input(role, kind, {"annotation_path": str(file), "media_path": media}, options.by_kind.get(kind, {}))


def _annotation_file(folder: Path) -> Path | None:
    """Return annotations.json, else the only JSON file of a folder that holds a list of records, as far as it shows."""
    usual = Path(dataset_root.annotations_in(str(folder)))
    if usual.is_file():
        return usual
    if any(media_suffixes.clips_in(folder)) or any((folder / name).is_file() for name in TABLES):
        return None
    files = [file for file in sorted(folder.iterdir()) if file.suffix in RECORDS and file.is_file()]
    return files[0] if len(files) == 1 else None


def _kind_of(path: Path) -> str:
    """Return the kind of what lies at a path. Raises BlockedError."""
    if path.is_file():
        if path.suffix in RECORDS:
            return "prompt_pairs" if path.suffix == ".jsonl" and _is_prompt(path) else "annotations"
        raise _unclear(path, "is a file of another format than .json and .jsonl")
    return _kind_of_folder(path)


def _kind_of_folder(path: Path) -> str:
    if _annotation_file(path):
        return "annotations"
    below = [folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    if any((path / name).is_dir() for name in (VIDEOS, *CAPTION_FOLDERS)) or any(media_suffixes.clips_in(path)):
        return "captioned_clips" if _has_captions(path) else "clips"
    if any(path.glob("*.txt")):
        return "prompt_pairs"
    if any(media_suffixes.clips_in(folder) for folder in below):
        return "class_folders"
    raise _unclear(path, "holds neither annotations nor clips nor prompts")


def _has_captions(path: Path) -> bool:
    named = any((path / name).is_dir() for name in CAPTION_FOLDERS) or any((path / name).is_file() for name in TABLES)
    return named or any(path.glob("*.txt")) or any(path.glob(f"{VIDEOS}/*.txt"))


def _is_prompt(path: Path) -> bool:
    """Return whether the first line is an object with a prompt."""
    first = next(_lines(path), "")
    try:
        entry = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(entry, dict) and "prompt" in entry


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        yield from (line for line in file if line.strip())


def _unclear(path: Path, what: str) -> BlockedError:
    return BlockedError.of(
        "data_kind_unknown", f"{path} {what}: what it is to be read as is not clear.", FIX, path=str(path)
    )
