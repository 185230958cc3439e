"""Writes the records of a review that people accepted or corrected: a new annotation file, whole or not at all."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import unfinished
from tao_skill_bank.core.findings import warning
from tao_skill_bank.errors import BlockedError, ConflictError
from tao_skill_bank.labelling import review_file
from tao_skill_bank.labelling.review_file import Review
from tao_skill_bank.runs.run_directory import write_synced


@dataclass(frozen=True)
class Imported:
    """What was written: records by decision, and the folder that their media are relative to."""

    target: Path
    media: str
    counts: dict[str, int]
    findings: tuple[Finding, ...]


def write(review: Review, target: Path) -> Imported:
    """Write the accepted and corrected records of a review.

    Raises:
        ConflictError: the target exists.
        BlockedError: nothing was accepted or corrected, or the target cannot be written.

    """
    records = list(review_file.records_of(review))
    if target.exists() or target.is_symlink():
        raise ConflictError.of("target_exists", f"{target} exists.", "Give another --out.", path=str(target))
    if not records:
        message = f"No record of {review.path} is accepted or corrected."
        fix = f"Decide with: tao-skills label review {review.head.get('review_of') or 'JOB'} --out {review.path}"
        raise BlockedError.of("nothing_accepted", message, fix, path=str(review.path))
    _store(target, records)
    return Imported(target, str(review.head.get("media") or ""), review.counts, tuple(_findings(review)))


def _store(target: Path, records: list[Any]) -> None:
    work = unfinished.next_to(target)
    lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_synced(work, f"[\n{lines}\n]\n")
        work.replace(target)
    except OSError as error:
        message = f"{target} cannot be written: {error.strerror or error}."
        raise BlockedError.of("target_not_written", message, "Give another --out.", path=str(target)) from None
    finally:
        work.unlink(missing_ok=True)


def _findings(review: Review) -> list[Finding]:
    found = []
    if review.undecided:
        message = f"{len(review.undecided)} of {len(review.items)} records are undecided and were left out."
        found.append(warning("records_undecided", message, "Decide them, and import again into a new file."))
    if review.num_unread:
        message = f"{review.num_unread} lines of {review.path} cannot be read and were ignored."
        fix = "A decision that a kill tore is made again; correct any other line."
        found.append(warning("review_torn", message, fix, str(review.path)))
    return found
