"""Reads a CSV table of clips and captions, whose prompts may hold commas, quotes and line breaks.

Commas, semicolons or tabs; a header, or none where the first column names clips; UTF-8, or UTF-16 with its mark. What
is not told by the file itself is noted, and what could be read in two ways is refused.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.core import regular_files
from tao_skill_bank.data import text_files
from tao_skill_bank.data.captions.rows import Row, Table, choose, plain
from tao_skill_bank.data.issues import Issue
from tao_skill_bank.data.text_files import EncodingError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
MAX_FIELD_LENGTH = 10 * 2**20  # the csv module's default is 128 KiB; there must be some limit for malformed files
SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class _Record:
    """Fields of a row and its lines as they are; `fault` says why there are no fields."""

    line: int
    raw: str
    fields: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class _Layout:
    delimiter: str
    width: int
    name_at: int
    caption_at: int
    has_header: bool
    notes: tuple[str, ...]


def read(path: Path, caption_column: str = "", names_clip: Callable[[str], bool] = lambda _: False) -> Table:
    """Read a table.

    Args:
        path: the file.
        caption_column: tried before the common names of the caption column.
        names_clip: whether a file name in the table is that of a clip; only then a header may be missing.

    """
    try:
        found = text_files.decode(regular_files.read_bytes(path))
    except EncodingError as error:
        return Table(issues=(Issue("not_utf8", "", str(error)),))
    except OSError as error:
        return Table(issues=(Issue("captions_unreadable", "", error.strerror or str(error)),))
    layout = _layout(found.text, caption_column, names_clip)
    if isinstance(layout, Issue):
        return Table(issues=(layout,))
    rows, issues = _rows(found.text, layout)
    notes = [note for note in (found.note, *layout.notes) if note]
    issues += [Issue("table_assumed", "", ", ".join(notes))] if notes else []
    return Table(tuple(rows), tuple(issues))


def _layout(text: str, caption_column: str, names_clip: Callable[[str], bool]) -> _Layout | Issue:
    firsts = {delimiter: next(_records(text, delimiter), _Record(1, "")) for delimiter in DELIMITERS}
    for delimiter, first in firsts.items():
        header = [plain(name) for name in first.fields]
        columns = choose(header, caption_column)
        if columns is None:
            continue
        twice = [name for name in (columns.file_name, columns.caption) if header.count(name) > 1]
        if twice:
            return Issue("captions_unreadable", f"line {first.line}", f"it has several columns {twice[0]}")
        notes = (*([] if delimiter == "," else [f"fields between {DELIMITERS[delimiter]}"]), *columns.notes)
        at = header.index(columns.file_name), header.index(columns.caption)
        return _Layout(delimiter, len(header), *at, has_header=True, notes=notes)
    for delimiter, first in firsts.items():
        if len(first.fields) > 1 and names_clip(first.fields[0].strip()):
            notes = (f"no header, fields between {DELIMITERS[delimiter]}: a file name, then its caption",)
            return _Layout(delimiter, 2, 0, 1, has_header=False, notes=notes)
    first = max(firsts.values(), key=lambda record: len(record.fields))
    if first.fault:
        return Issue("csv_quotes", f"line {first.line}", first.fault)
    names = ", ".join(name for name in map(plain, first.fields) if name) or "none"
    detail = f"it needs the columns file_name and prompt, and has: {names[:SHOWN_CHARACTERS]}"
    return Issue("captions_unreadable", "", detail)


def _rows(text: str, layout: _Layout) -> tuple[list[Row], list[Issue]]:
    rows: list[Row] = []
    issues: list[Issue] = []
    extra: list[int] = []
    records = _records(text, layout.delimiter)
    for record in list(records)[layout.has_header :]:
        if record.fault:
            issues.append(Issue("csv_quotes", f"line {record.line}", _mended(record, layout)))
            continue
        fields, num_extra = _fields(record, layout)
        extra.append(num_extra)
        if len(fields) != layout.width or not fields[layout.name_at].strip():
            issues.append(Issue("csv_row_invalid", f"line {record.line}", _reason(fields, layout)))
            continue
        if num_extra:
            issues.append(Issue("csv_unquoted", f"line {record.line}", fields[layout.caption_at]))
        rows.append(Row(record.line, fields[layout.name_at].strip(), fields[layout.caption_at]))
    if len(extra) > 1 and extra[0] and len(set(extra)) == 1:
        return [], [_another_column(issue, layout, extra[0]) for issue in issues]
    return rows, issues


def _records(text: str, delimiter: str) -> Iterator[_Record]:
    """Yield the rows that are not blank; the reader continues on the line after one that it cannot split."""
    csv.field_size_limit(MAX_FIELD_LENGTH)
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        taken.clear()
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            is_open = len(taken) > 1 or "unexpected end" in str(error)
            fault = "a quote that is never closed" if is_open else "text after the closing quote of a field"
            yield _Record(line, "".join(taken), fault=str(error) if "limit" in str(error) else fault)
            continue
        if any(field.strip() for field in fields):
            is_late = any(field[:1] == " " and field.lstrip()[:1] == '"' for field in fields)
            fault = "a space before the opening quote of a field" if is_late else ""
            yield _Record(line, "".join(taken), tuple(fields), fault)


def _fields(record: _Record, layout: _Layout) -> tuple[Sequence[str], int]:
    """Return the fields of a row, the last one with all that follows, and how many fields that were."""
    fields, extra = record.fields, len(record.fields) - layout.width
    if extra > 0 and not any(field.strip() for field in fields[layout.width :]):
        return fields[: layout.width], 0  # spreadsheets fill rows up
    if extra <= 0 or layout.caption_at != layout.width - 1 or '"' in record.raw:
        return fields, 0
    return (*fields[: layout.width - 1], layout.delimiter.join(fields[layout.width - 1 :])), extra


def _another_column(issue: Issue, layout: _Layout, extra: int) -> Issue:
    if issue.code != "csv_unquoted":
        return issue
    detail = f"{layout.width + extra} fields instead of {layout.width}, as in every row: a column without a name?"
    return Issue("csv_row_invalid", issue.item, detail)


def _mended(record: _Record, layout: _Layout) -> str:
    """Return the fault of a row and, where that is sure, the row as it should be."""
    *fields, caption = record.raw.rstrip("\r\n").split(layout.delimiter, layout.width - 1)
    is_sure = "after the closing" in record.fault and layout.caption_at == layout.width - 1
    if not is_sure or len(fields) != layout.width - 1 or any('"' in field for field in fields):
        return record.fault
    doubled = caption.replace('"', '""')
    mended = layout.delimiter.join([*fields, f'"{doubled}"'])
    return f"{record.fault}; write {mended}" if len(mended) <= SHOWN_CHARACTERS else record.fault


def _reason(fields: Sequence[str], layout: _Layout) -> str:
    if len(fields) == layout.width:
        return "no file name"
    return f"{len(fields)} fields instead of {layout.width}"
