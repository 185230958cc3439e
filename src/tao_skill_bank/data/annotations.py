"""Annotation files: a list, an object with a list, a mapping by id, or JSON lines; read as a stream."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tao_skill_bank.data.json_stream import NoListError, SeveralListsError, stream_items
from tao_skill_bank.errors import BlockedError

ENVELOPE_KEYS = ("annotations", "data", "samples", "items")
BYTE_ORDER_MARK = "\ufeff"
LINES_ENDINGS = (".jsonl", ".ndjson")
POINTER = "version https://git-lfs.github.com/spec/"


def stream_records(path: Path) -> Iterator[Any]:
    """Yield the records of an annotation file one by one, in constant memory.

    Raises:
        BlockedError: the file is missing, empty, not strict JSON, starts with a byte order mark, or contains no list.

    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise _unreadable(path, what, "Give the path of an existing annotation file.")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head = file.read(4096)
            if not head.strip():
                raise _unreadable(path, "is empty", "Write a JSON list of records into it.")
            if head.startswith(BYTE_ORDER_MARK):
                raise _unreadable(path, "starts with a byte order mark", "Save it as UTF-8 without a byte order mark.")
            if head.startswith(POINTER):
                fix = f"Run git lfs pull in {path.parent}, or download the file itself."
                raise _unreadable(path, "is a Git LFS pointer and not the file that it stands for", fix)
            file.seek(0)
            yield from stream_items(file, ENVELOPE_KEYS, as_lines=path.suffix in LINES_ENDINGS)
    except UnicodeDecodeError:
        raise _unreadable(path, "is not UTF-8", "Save it as UTF-8 without a byte order mark.") from None
    except NoListError as error:
        fix = "Write a JSON list of records into it, or one under `annotations`."
        raise _unreadable(path, f"contains no records: {error}", fix) from None
    except SeveralListsError as error:
        fix = "Keep a single list of records, and no other objects with lists next to it."
        raise _unreadable(path, f"has records in several places: {error}", fix) from None
    except ValueError as error:
        fix = "Write strict JSON: UTF-8, double quotes, no NaN or Infinity, no trailing comma."
        raise _unreadable(path, f"is not valid JSON: {error}", fix) from None
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}", "Make the file readable.") from None


def load_records(path: Path) -> list[dict[str, Any]]:
    """Return every record of an annotation file. Raises BlockedError like `stream_records`."""
    return list(stream_records(path))


def _unreadable(path: Path, what: str, fix: str) -> BlockedError:
    return BlockedError.of("annotation_unreadable", f"Annotation file {path} {what}.", fix, path=str(path))
