"""Reads a CSV table of clips and captions, whose prompts may hold commas, quotes and line breaks."""

import csv
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.data.issues import Issue

FILE_COLUMNS = ("file_name", "filename", "video", "file")
CAPTION_COLUMNS = ("prompt", "caption", "text")
MAX_FIELD_LENGTH = 10 * 2**20  # the csv module's default is 128 KiB; there must be some limit for malformed files


@dataclass(frozen=True)
class Row:
    """One clip; `line` counts the line of the file on which the row ends, from 1."""

    line: int
    file_name: str
    caption: str


@dataclass(frozen=True)
class Table:
    """The rows of a file and its issues. An issue's item is the row's line, empty for the whole file."""

    rows: tuple[Row, ...] = ()
    issues: tuple[Issue, ...] = ()


def read(path: Path, caption_column: str = "") -> Table:
    """Read a table with a header. `caption_column` is tried before the common names of the caption column."""
    rows: list[Row] = []
    issues: list[Issue] = []
    csv.field_size_limit(MAX_FIELD_LENGTH)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [_plain(name) for name in next(reader, [])]
            name_at = _column(header, FILE_COLUMNS)
            caption_at = _column(header, (_plain(caption_column), *CAPTION_COLUMNS))
            if name_at is None or caption_at is None:
                return Table(issues=(Issue("captions_unreadable", "", _no_columns(header)),))
            for fields in reader:
                if not any(field.strip() for field in fields):
                    continue
                line = reader.line_num
                if len(fields) != len(header) or not fields[name_at].strip():
                    issues.append(Issue("csv_row_invalid", f"line {line}", _reason(fields, header)))
                    continue
                rows.append(Row(line, fields[name_at].strip(), fields[caption_at]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        item = f"line {reader.line_num}" if isinstance(error, csv.Error) else ""
        issues.append(Issue("captions_unreadable", item, reason))
    return Table(tuple(rows), tuple(issues))


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def _column(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _no_columns(header: list[str]) -> str:
    columns = ", ".join(name for name in header if name) or "none"
    return f"it needs the columns file_name and prompt, and has: {columns}"


def _reason(fields: list[str], header: list[str]) -> str:
    if len(fields) == len(header):
        return "no file name"
    return f"{len(fields)} fields instead of {len(header)}"
