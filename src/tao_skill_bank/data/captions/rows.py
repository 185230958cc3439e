"""Rows of a table of clips and captions, whichever format they were written in."""

from dataclasses import dataclass

from tao_skill_bank.data.issues import Issue

# Names of columns and keys: the first ones are read as they are, any other is noted.
FILE_COLUMNS = ("file_name", "filename", "video", "file")
OTHER_FILE_COLUMNS = ("video_path", "path", "clip", "clip_path", "video_file", "video_name", "file_path", "filepath")
CAPTION_COLUMNS = ("prompt", "caption", "text")
OTHER_CAPTION_COLUMNS = ("description", "instruction")
LAST_FILE_COLUMNS = ("name", "clip_name")  # these hold titles at times


@dataclass(frozen=True)
class Row:
    """One clip; `line` counts the line of the file on which the row starts, from 1."""

    line: int
    file_name: str
    caption: str


@dataclass(frozen=True)
class Table:
    """The rows of a file and its issues. An issue's item is the row's line, empty for the whole file."""

    rows: tuple[Row, ...] = ()
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True)
class Columns:
    """The columns that hold the file name and the caption, and what was assumed to find them."""

    file_name: str
    caption: str
    notes: tuple[str, ...] = ()


def plain(name: str) -> str:
    """Return a column's name as it is compared."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def choose(names: list[str], caption_column: str = "") -> Columns | None:
    """Return the columns to read of those that a table has; None when it lacks one of the two.

    Args:
        names: the plain names of its columns.
        caption_column: tried before the common names of the caption column.

    """
    wanted = plain(caption_column)
    file_name = next((each for each in (*FILE_COLUMNS, *OTHER_FILE_COLUMNS, *LAST_FILE_COLUMNS) if each in names), "")
    candidates = dict.fromkeys((*([wanted] if wanted else []), *CAPTION_COLUMNS, *OTHER_CAPTION_COLUMNS))
    known = [each for each in candidates if each in names]  # a column without a name is an index
    if not file_name or not known:
        return None
    caption, notes = known[0], []
    if file_name not in FILE_COLUMNS or caption not in (wanted, *CAPTION_COLUMNS):
        notes.append(f"columns {file_name} and {caption}")
    if wanted and wanted not in (*names, *CAPTION_COLUMNS):
        notes.append(f"captions from {caption}, as there is no {wanted}")
    if len(known) > 1:
        notes.append(f"captions from {caption}, not from {', '.join(known[1:])}")
    return Columns(file_name, caption, tuple(notes))
