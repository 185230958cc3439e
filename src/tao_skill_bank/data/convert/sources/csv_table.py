"""CSV and TSV tables with a record per row: a header with question, answer, video or image, video_fps and others."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.data.captions.csv_tables import MAX_FIELD_LENGTH
from tao_skill_bank.data.convert.columns import Columns
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import Options, RawRecord, Target
from tao_skill_bank.data.json_stream import whole
from tao_skill_bank.errors import BlockedError

TITLE = "a CSV or TSV table with a header"
TARGETS: tuple[Target, ...] = ("llava",)
ENDINGS = (".csv", ".tsv")
SEPARATORS = (",", ";", "\t")
NUMBERS = ("video_start", "video_end", "start", "end", "sample_fps")
LISTS = ("conversations", "messages", "images", "videos", "frames_indices")


def detect(path: Path) -> bool:
    """Return whether a path is a table, by its ending."""
    return path.is_file() and path.suffix.lower() in ENDINGS


def media_root(path: Path) -> Path:
    """Return the folder of the table."""
    return path.parent


def read(path: Path, options: Options, notes: Notes) -> Iterator[RawRecord]:
    """Yield the record of every row."""
    csv.field_size_limit(MAX_FIELD_LENGTH)
    columns = Columns(options.columns, notes)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = "\t" if path.suffix.lower() == ".tsv" else _separator(file.readline(MAX_FIELD_LENGTH))
            file.seek(0)
            rows = csv.reader(file, delimiter=separator, strict=True)
            header = _header(path, next(rows, []))
            index = 0
            for fields in rows:
                place = f"{path} line {rows.line_num}"
                if not any(field.strip() for field in fields):
                    continue
                if len(fields) != len(header):
                    message = f"{place} has {len(fields)} fields, and the header has {len(header)}."
                    notes.problem("row_invalid", message, "Quote fields that hold a separator.", place)
                    continue
                row = dict(zip(header, fields, strict=True))
                yield RawRecord(_as_record(columns.apply(row, place)), index, place)
                index += 1
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8", "Save it as UTF-8.") from None
    except csv.Error as error:
        raise _unreadable(path, f"line {rows.line_num}: {error}", "Quote fields that hold quotes.") from None
    except OSError as error:
        raise _unreadable(path, str(error.strerror), "Make the file readable.") from None
    columns.finish(str(path))


def _separator(line: str) -> str:
    """Return the separator that a header has most often."""
    return max(SEPARATORS, key=line.count)


def _header(path: Path, fields: list[str]) -> list[str]:
    header = [field.strip() for field in fields]
    if not header or not all(header) or len(set(header)) != len(header):
        raise _unreadable(path, "its header has empty or repeated names", "Give every column a name of its own.")
    return header


def _as_record(row: Mapping[str, str]) -> dict[str, Any]:
    """Return a row without empty fields, with numbers and lists where a record has them."""
    return {key: _value(key, text) for key, text in row.items() if text.strip()}


def _value(key: str, text: str) -> Any:
    if key in NUMBERS:
        try:
            return float(text)
        except ValueError:
            return text
    if key in LISTS and text.lstrip().startswith("["):
        try:
            return whole(text)
        except ValueError:
            return text
    return text.strip() if key in ("video", "image", "video_fps", "id") else text


def _unreadable(path: Path, what: str, fix: str) -> BlockedError:
    return BlockedError.of("table_unreadable", f"{path} cannot be read: {what}.", fix, path=str(path))
