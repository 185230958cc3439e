"""Checks the paths, annotation files and disks that the flags name."""

import argparse
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import locations, settings
from tao_skill_bank.core.findings import MAX_LISTED, blocking, info, not_checked
from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.records.rates import rate_of
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.launch_check.arguments import BatchLimit

S3_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def check(flags: argparse.Namespace) -> Iterator[Finding]:
    """Yield the findings of every path, disk and annotation file, in the order of the flags."""
    for label, path in flags.path.items():
        yield from _path(label, path)
    for label, gib in flags.min_free_disk_gb.items():
        yield from _free_disk(label, flags.path[label], gib)
    annotated = dict.fromkeys([*flags.json_required_field, *flags.effective_batch_limit])
    for label in annotated:
        fields = flags.json_required_field.get(label, ())
        limit = flags.effective_batch_limit.get(label)
        yield from _annotations(label, flags.path[label], fields, limit, flags.json_sample_limit)


def _path(label: str, path: str) -> Iterator[Finding]:
    if path.startswith("s3://"):
        missing = [name for name in S3_VARIABLES if not settings.has_variable(name)]
        if missing:
            message = f"S3 credentials missing for {label}={path}: {', '.join(missing)}"
            yield blocking("credential_missing", message, f"Set {', '.join(missing)}.", path)
        else:
            yield not_checked("path_remote", f"S3 path not checked: {label}={path}", "aws s3 ls it.", path)
    elif locations.is_uri(path):
        yield not_checked("path_remote", f"Remote path not checked: {label}={path}", "Check it where it is.", path)
    elif Path(path).exists():
        yield info("path", f"Local path OK: {label}={path}", path)
    else:
        yield blocking("path_missing", f"Local path missing: {label}={path}", "Give an existing path.", path)


def _free_disk(label: str, path: str, needed_gib: float) -> Iterator[Finding]:
    if locations.is_uri(path):
        message = f"Free disk not checked: {label}={path}"
        yield not_checked("disk_not_checked", message, "Check it with the storage's own tools.", path)
        return
    free_gib = shutil.disk_usage(locations.nearest_existing(Path(path))).free / 2**30
    if free_gib < needed_gib:
        message = f"Free disk too low: {label}={path} has {free_gib:.1f} GiB, needs {needed_gib:g} GiB"
        yield blocking("disk_too_small", message, "Free space, or choose another path.", path)
    else:
        yield info("disk", f"Free disk OK: {label}={free_gib:.1f} GiB", path)


def _annotations(
    label: str, path: str, fields: tuple[str, ...], limit: BatchLimit | None, sample_limit: int | None
) -> Iterator[Finding]:
    if locations.is_uri(path):
        message = f"JSON not checked: {label}={path}"
        yield not_checked("annotation_remote", message, "Stage the file locally.", path)
        return
    if not os.path.exists(path):  # noqa: PTH110 - reported by the finding of the path
        return
    file = Path(path) / "annotations.json" if Path(path).is_dir() else Path(path)
    issues: list[str] = []
    num_records = num_issues = 0
    try:
        for record in stream_records(file):
            if sample_limit is None or num_records < sample_limit:
                found = list(_issues(num_records, record, fields))
                num_issues += len(found)
                issues += found if len(issues) < MAX_LISTED else []
            num_records += 1
    except TaoSkillsError as error:
        problem = error.problems[0]
        yield blocking(problem.code, f"JSON unreadable: {label}={path}: {problem.message}", problem.fix, path)
        return
    yield info("dataset_records", f"JSON record count: {label}={num_records}", path, records=num_records)
    if num_issues or not num_records:
        yield _invalid(label, path, issues, num_issues)
    if limit:
        yield _batch(label, num_records, limit)


def _issues(index: int, record: Any, fields: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(record, dict):
        yield f"record {index}: not a JSON object"
        return
    media = media_of(record)
    shows_only_images = bool(media) and all(item.kind == "image" for item in media)
    for field in fields:
        if field == "video_fps" and shows_only_images:
            continue
        if record.get(field) in (None, "", [], {}):
            yield f"record {index}: missing {field}"
        elif field == "video_fps" and rate_of(record[field]) is None:
            yield f"record {index}: invalid {field}"


def _invalid(label: str, path: str, issues: list[str], num_issues: int) -> Finding:
    shown = list(itertools.islice(issues, MAX_LISTED)) or ["no records"]
    rest = num_issues - len(shown)
    lines = [f"JSON fields missing or invalid: {label}={path}", *(f"  {issue}" for issue in shown)]
    lines += [f"  and {rest} more"] if rest > 0 else []
    fix = f"Correct the records; for video_fps: tao-skills data fix-video-fps {path} COPY"
    return blocking("json_fields_missing", "\n".join(lines), fix, path, count=num_issues)


def _batch(label: str, num_records: int, limit: BatchLimit) -> Finding:
    per_shard = num_records // limit.shards
    text = f"{label}: {num_records} records on {limit.shards} shards are {per_shard} per shard, batch {limit.batch}"
    if per_shard < limit.batch:
        fix = f"Lower the batch to at most {per_shard}." if per_shard else f"Use at most {num_records} shards."
        return blocking("batch_exceeds_records", f"Effective batch check failed: {text}", fix, label)
    return info("effective_batch", f"Effective batch OK: {text}", label)
