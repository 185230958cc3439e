"""Rows of Arrow and parquet tables as the reader of records takes them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tao_skill_bank.core.limits import MAX_CHARACTERS, MAX_DEPTH, TOO_DEEP, TOO_LONG, is_too_deep
from tao_skill_bank.data.convert import blobs
from tao_skill_bank.data.convert.columns import Columns
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import RawRecord
from tao_skill_bank.data.json_stream import whole
from tao_skill_bank.errors import BlockedError, MissingExtraError

ROWS_AT_ONCE = 16  # they may hold videos
FEATURES_KEY = b"huggingface"
MEDIA_KEYS = frozenset({"image", "images", "video", "videos", "image_url", "video_url"})
TURN_KEYS = ("conversations", "messages")
ROLE_KEYS = ("from", "role")

Row = dict[str, Any]


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Yield the rows of a parquet file, of some columns where these are given.

    Raises:
        BlockedError: the file cannot be read.
        MissingExtraError: pyarrow is not installed.

    """
    arrow = require_arrow()
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
            classes = class_names(_features_of(file.schema_arrow))
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=names):
                batch.validate(full=True)
                yield from rows_of(batch, classes)
    except (arrow.ArrowException, OSError, ValueError, ArithmeticError) as error:
        raise unreadable(path, error) from None


def column_names(path: Path) -> list[str]:
    """Return the names of the columns of a parquet file. Raises like `read_parquet`."""
    arrow = require_arrow()
    from pyarrow import parquet

    try:
        return list(parquet.read_schema(path).names)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise unreadable(path, error) from None


def read_stream(path: Path, features: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the rows of an Arrow stream. Raises like `read_parquet`."""
    arrow = require_arrow()
    try:
        with arrow.memory_map(str(path)) as file, arrow.ipc.open_stream(file) as stream:
            classes = class_names({**_features_of(stream.schema), **features})
            for batch in stream:
                batch.validate(full=True)
                for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                    yield from rows_of(batch.slice(start, ROWS_AT_ONCE), classes)
    except (arrow.ArrowException, OSError, ValueError, ArithmeticError) as error:
        raise unreadable(path, error) from None


def require_arrow() -> Any:
    """Return pyarrow. Raises MissingExtraError without it."""
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError.for_module("pyarrow", "train") from None
    return pyarrow


def unreadable(path: Path, error: Exception) -> BlockedError:
    """Return the error of a table that cannot be read."""
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    fix = "Download or write the file again."
    return BlockedError.of("table_unreadable", f"{path} cannot be read: {reason}.", fix, path=str(path))


def rows_of(batch: Any, classes: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """Yield the rows of a batch, with the names of classes for their numbers."""
    for row in batch.to_pylist():
        for column, names in classes.items():
            number = row.get(column)
            if isinstance(number, int):
                row[column] = names[number] if 0 <= number < len(names) else None
        yield row


def class_names(features: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Return the names of the classes of columns that hold their numbers."""
    return {
        column: [str(name) for name in feature["names"]]
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
    }


def records(
    rows: Iterator[Row], path: Path, columns: Columns, notes: Notes, *, split: str = "", first: int = 0
) -> Iterator[RawRecord]:
    """Yield the record of every row of a file; media in bytes become blobs.

    Args:
        rows: of the file.
        path: what messages call it.
        columns: that the user names.
        notes: where problems and losses go.
        split: the part of the dataset that the file belongs to.
        first: position of its first row in the split.

    """
    for index, row in enumerate(rows):
        place = f"{path} row {index}"
        if fault := _fault(row):
            notes.problem("record_too_large", f"{place}: {fault}.", "Drop the record.", place)
            continue
        raw = _with_turns(_without_nulls(columns.apply(row, place)))
        found: dict[str, bytes | None] = {}
        faults: list[str] = []
        raw = _with_files(raw, "", found, faults, notes)
        for fault in faults:
            fix = f"Store media as one of: {', '.join(blobs.KNOWN)}."
            notes.problem("media_unknown", f"{place} has {fault}.", fix, place)
        if not faults:
            yield RawRecord(raw, first + index, place, split, found)


def _fault(row: Row) -> str:
    if is_too_deep(row, MAX_DEPTH):
        return TOO_DEEP
    return TOO_LONG if _num_characters(row) > MAX_CHARACTERS else ""


def _num_characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(map(_num_characters, items))


def _without_nulls(value: Any) -> Any:
    """Return a value as JSON would have it, without the empty fields that the rows of a table share."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [_without_nulls(each) for each in value]
    return value if isinstance(value, (str, int, float, bytes)) or value is None else str(value)


def _with_turns(row: Row) -> Row:
    """Return a row whose turns are a list, where the table has a list per field, or JSON."""
    changed: Row = {}
    for key, value in row.items():
        if _holds_turns(value):
            names = list(value)
            changed[key] = [dict(zip(names, each, strict=True)) for each in zip(*value.values(), strict=True)]
        elif key in TURN_KEYS and isinstance(value, str) and value.lstrip().startswith("["):
            changed[key] = _parsed(value)
    return {**row, **changed}


def _holds_turns(value: Any) -> bool:
    """Return whether a value is a list of roles next to a list of texts."""
    if not isinstance(value, dict) or value.keys().isdisjoint(ROLE_KEYS):
        return False
    fields = list(value.values())
    return all(isinstance(each, list) for each in fields) and len({len(each) for each in fields}) == 1


def _parsed(text: str) -> Any:
    try:
        return whole(text)
    except ValueError:
        return text  # the reader reports it


def _with_files(value: Any, key: str, found: dict[str, bytes | None], faults: list[str], notes: Notes) -> Any:
    """Return a value with the names of files for the media that it holds as bytes."""
    if isinstance(value, list):
        return [_with_files(each, key, found, faults, notes) for each in value]
    if not isinstance(value, dict):
        if isinstance(value, bytes) and key not in MEDIA_KEYS:
            notes.leave_out(f"key {key}")
            return None
        return _stored(value, key, found, faults) if isinstance(value, bytes) else value
    if key in MEDIA_KEYS and value and value.keys() <= {"bytes", "path"}:
        if "bytes" not in value:
            return value["path"]
        if "path" in value:
            notes.leave_out(f"key {key}.path")
        return _stored(value["bytes"], key, found, faults)
    return {name: _with_files(each, name, found, faults, notes) for name, each in value.items()}


def _stored(content: Any, key: str, found: dict[str, bytes | None], faults: list[str]) -> str:
    name = blobs.name_of(content) if isinstance(content, bytes) else ""
    if not name:
        faults.append(f"bytes under {key!r} that are not a known image or video")
    else:
        found[name] = content
    return name


def _features_of(schema: Any) -> Mapping[str, Any]:
    """Return the features that a table's schema describes; none for what is not understood."""
    text = (schema.metadata or {}).get(FEATURES_KEY)
    try:
        features = json.loads(text)["info"]["features"] if text and len(text) <= MAX_CHARACTERS else {}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}
