"""Looks for evaluation records that are also trained on, or that a quantization is calibrated on.

Two records are the same when they show the same media file. A shared id alone says little, since both files may
number from 0, so records that share an id are compared by the bytes of their media, or by content without media.
"""

import filecmp
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import hashes
from tao_skill_bank.core.findings import MAX_LISTED, listed, warning
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.data.scan import Scan, records_at

MAX_COMPARED = 32
USED = {"train": "trained", "calibration": "calibrated"}


def check(scans: list[Scan]) -> list[Finding]:
    """Return a warning for every evaluation set that overlaps the training or calibration set."""
    readable = [scan for scan in scans if not scan.failure]
    train_sets = [scan for scan in readable if scan.input.role in USED]
    eval_sets = [scan for scan in readable if scan.input.role == "eval"]
    return [finding for train in train_sets for held_out in eval_sets for finding in _compare(train, held_out)]


def _compare(train: Scan, held_out: Scan) -> list[Finding]:
    positions = hashes.positions_in(held_out.media, train.media, present=True)
    shared = hashes.first_distinct((held_out.media_records[position] for position in positions), MAX_LISTED)
    if positions:
        return [_overlap(train, held_out, *shared, f"show media that are {USED[train.input.role]} on")]
    same = _same_content(train, held_out)
    told = f"are copies of {'training' if train.input.role == 'train' else train.input.role} records with the same id"
    return [_overlap(train, held_out, same[:MAX_LISTED], len(same), told)] if same else []


def _overlap(train: Scan, held_out: Scan, first: list[int], count: int, what: str) -> Finding:
    path = held_out.annotation_path
    message = (
        f"{count} evaluation records of {path} {what} in {train.annotation_path} "
        f"(record {listed(first, count)}): the scores will flatter the model."
    )
    fix = "Move every clip into one of the two sets only."
    return warning("train_eval_overlap", message, fix, path, records=first, count=count)


def _same_content(train: Scan, held_out: Scan) -> list[int]:
    """Return the evaluation records, among those sharing an id with training, that hold the same content."""
    eval_positions = hashes.positions_in(held_out.ids, train.ids, present=True)
    step = max(1, len(eval_positions) // MAX_COMPARED)
    compared = eval_positions[::step][:MAX_COMPARED]
    if not compared:
        return []
    wanted = hashes.new()
    wanted.extend(held_out.ids[position] for position in compared)
    train_positions = hashes.positions_in(train.ids, wanted, present=True)[: 2 * MAX_COMPARED]
    train_records = {
        str(record["id"]): record for record in records_at(train.annotation_path, train_positions).values()
    }
    eval_records = records_at(held_out.annotation_path, compared)
    return [
        index
        for index, record in eval_records.items()
        if str(record["id"]) in train_records and _is_same(train, train_records[str(record["id"])], held_out, record)
    ]


def _is_same(train: Scan, train_record: Mapping[str, Any], held_out: Scan, record: Mapping[str, Any]) -> bool:
    train_files, eval_files = _files(train, train_record), _files(held_out, record)
    if not train_files and not eval_files:
        return train_record == record
    if len(train_files) != len(eval_files) or not all(path.is_file() for path in [*train_files, *eval_files]):
        return False
    return all(filecmp.cmp(ours, theirs, shallow=False) for ours, theirs in zip(train_files, eval_files, strict=True))


def _files(scan: Scan, record: Mapping[str, Any]) -> list[Path]:
    media = media_of(record, scan.rules.conversations_key)
    return [Path(scan.path_of(name)) for item in media for name in item.files]
