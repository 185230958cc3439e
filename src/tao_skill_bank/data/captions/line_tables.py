"""Reads JSON lines of clips and captions, as public loaders of image and video folders expect them."""

from pathlib import Path

from tao_skill_bank.data import text_files
from tao_skill_bank.data.captions import json_captions
from tao_skill_bank.data.captions.rows import Row, Table, choose, plain
from tao_skill_bank.data.issues import Issue
from tao_skill_bank.data.text_files import EncodingError


def read(path: Path, caption_key: str = "") -> Table:
    """Read one object per line: file_name and a caption. `caption_key` is tried before the common names."""
    try:
        found = text_files.read(path)
    except EncodingError as error:
        return Table(issues=(Issue("not_utf8", "", str(error)),))
    except OSError as error:
        return Table(issues=(Issue("captions_unreadable", "", error.strerror or str(error)),))
    rows: list[Row] = []
    issues: list[Issue] = []
    notes = dict.fromkeys([found.note] if found.note else [])
    for number, line in enumerate(found.text.split("\n"), start=1):  # a caption may contain other line separators
        if not line.strip():
            continue
        try:
            row, noted = _row(number, line, caption_key)
        except ValueError as error:
            issues.append(Issue("csv_row_invalid", f"line {number}", str(error)))
        else:
            rows.append(row)
            notes |= dict.fromkeys(noted)
    issues += [Issue("table_assumed", "", ", ".join(notes))] if notes else []
    return Table(tuple(rows), tuple(issues))


def _row(number: int, line: str, caption_key: str) -> tuple[Row, tuple[str, ...]]:
    entry = json_captions.parse(line)
    if not isinstance(entry, dict):
        raise ValueError("not a JSON object")
    by_name = {plain(key): value for key, value in entry.items()}
    columns = choose(list(by_name), caption_key)
    if columns is None:
        raise ValueError(f"it needs file_name and prompt, and has: {', '.join(by_name) or 'nothing'}")
    name, caption = by_name[columns.file_name], by_name[columns.caption]
    if not isinstance(name, str) or not name.strip():
        raise ValueError("no file name")
    return Row(number, name.strip(), json_captions.caption_in(caption, caption_key)), columns.notes
