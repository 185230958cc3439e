"""Parquet files with a record per row: one file, or a folder of files as data sets on the hub have them."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tao_skill_bank.data.convert import arrow_rows, lerobot
from tao_skill_bank.data.convert.columns import Columns
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import Options, RawRecord, Target

TITLE = "a parquet file, or a folder of them"
TARGETS: tuple[Target, ...] = ("llava",)
SHARD = re.compile(r"(.+)-[0-9]{5}-of-([0-9]{5})")
USUAL_FOLDER = "data"


def detect(path: Path) -> bool:
    """Return whether a path is a parquet file or holds some, without being a dataset of another format."""
    if path.is_dir():
        return not (path / lerobot.INFO).exists() and any(path.rglob("*.parquet"))
    return path.suffix.lower() == ".parquet"


def media_root(path: Path) -> Path:
    """Return the folder of the file, or the folder itself."""
    return path if path.is_dir() else path.parent


def read(path: Path, options: Options, notes: Notes) -> Iterator[RawRecord]:
    """Yield the records of all files; files named SPLIT-00000-of-00001 belong to that split."""
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    splits = {file: _split(file, path) for file in files}
    if path.is_file() or not all(splits.values()):
        splits = dict.fromkeys(files, "")
    _check_shards(files, notes)
    columns = Columns(options.columns, notes)
    counts: Counter[str] = Counter()
    for file, split in splits.items():
        notes.use(file)
        for record in arrow_rows.records(
            arrow_rows.read_parquet(file), file, columns, notes, split=split, first=counts[split]
        ):
            counts[split] = record.index + 1
            yield record
    columns.finish(str(path))


def _split(file: Path, root: Path) -> str:
    """Return the folder below `root` and the name that files of one split share; empty for another name."""
    match = SHARD.fullmatch(file.stem)
    parts = [part for part in file.parent.relative_to(root).parts if part != USUAL_FOLDER] if match else []
    return "/".join([*parts, match[1]]) if match else ""


def _check_shards(files: list[Path], notes: Notes) -> None:
    """Add a problem for every split of which files are missing."""
    shards: Counter[tuple[Path, str, int]] = Counter()
    for file in files:
        if match := SHARD.fullmatch(file.stem):
            shards[file.parent, match[1], int(match[2])] += 1
    for (folder, split, expected), count in shards.items():
        if count != expected and len(files) > 1:
            message = f"{folder} has {count} of the {expected} files of '{split}'."
            notes.problem("shards_missing", message, "Download the missing files, or give one file.", str(folder))
