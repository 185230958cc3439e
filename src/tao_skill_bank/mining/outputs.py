"""What a mining writes: a folder with the mined records or clips and a summary, whole or not at all."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader, unfinished
from tao_skill_bank.errors import BlockedError, ConflictError

RECORDS, CLIPS, SUMMARY = "mined.json", "mined_unlabelled.jsonl", "mined_summary.json"


def existing(out: Path, mining: str) -> dict[str, Any] | None:
    """Return the summary of a folder that the same mining has written; None where nothing is there yet.

    Raises:
        ConflictError: something else is there.

    """
    if not out.exists() and not out.is_symlink():
        return None
    summary = json_reader.read_object(out / SUMMARY, "Give a new folder.") if (out / SUMMARY).is_file() else {}
    if summary.get("mining") != mining:
        what = "the result of another mining" if summary else "something else"
        message = f"{out} exists and holds {what}."
        raise ConflictError.of("target_exists", message, "Give a new folder with --out.", path=str(out))
    return summary


def write(
    out: Path, summary: Mapping[str, Any], records: Sequence[Any] | None, clips: Sequence[Mapping[str, Any]]
) -> None:
    """Write the folder. Raises BlockedError where it cannot be written.

    Args:
        out: new folder.
        summary: everything that is to be known of the mining.
        records: of a labelled pool; None for a pool without records, of which `clips` are written.
        clips: one object per mined clip.

    """
    work = unfinished.next_to(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work.mkdir()
        if records is None:
            lines = [json.dumps(clip, ensure_ascii=False) for clip in clips]
            _store(work / CLIPS, "".join(f"{line}\n" for line in lines))
        else:
            lines = [json.dumps(record, ensure_ascii=False) for record in records]
            _store(work / RECORDS, "[\n" + ",\n".join(lines) + "\n]\n")
        _store(work / SUMMARY, json.dumps(summary, ensure_ascii=False, indent=1) + "\n")
        work.rename(out)
    except OSError as error:
        message = f"{out} cannot be written: {error.strerror or error}."
        raise BlockedError.of(
            "target_not_written", message, "Give a folder that can be written.", path=str(out)
        ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _store(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
