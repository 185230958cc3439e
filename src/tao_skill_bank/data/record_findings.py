"""Checks what the records of a dataset say: required fields, turns, ids. One finding per type of issue."""

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import hashes
from tao_skill_bank.core.findings import MAX_LISTED, blocking, info, listed, warning
from tao_skill_bank.data.records.issues import issue_type
from tao_skill_bank.data.scan import Scan, Tally, records_at


def check(scan: Scan) -> list[Finding]:
    """Return the findings of one annotation file."""
    if scan.failure:
        return [scan.failure]
    path = scan.annotation_path
    if not scan.num_records:
        message = f"Annotation file {path} holds no records."
        return [blocking("annotation_empty", message, "Write at least one record into it.", path)]
    found = [_issue(scan, code, tally) for code, tally in sorted(scan.issues.items())]
    found += [*_duplicates(scan), *_formats(scan), *_bare_ranges(scan), *_unread(scan)]
    message = f"{path} holds {scan.num_records} {scan.input.role} records, {scan.num_usable} of them usable."
    evidence = {"records": scan.num_records, "usable": scan.num_usable, "with_video": scan.num_videos}
    return [*found, info("dataset_records", message, path, role=scan.input.role, **evidence)]


def _issue(scan: Scan, code: str, tally: Tally) -> Finding:
    path = scan.annotation_path
    evidence = {"records": tally.first, "count": tally.count}
    where = f"{tally.count} of {scan.num_records} records of {path}"
    which = f"(record {listed(tally.first, tally.count)}, counted from 0)"
    if code == "id_missing":
        message = f"{where} have no id {which}; results name them by position."
        return warning(code, message, "Give every record an id that no other one has.", path, **evidence)
    kind = issue_type(code, scan.rules)
    first = f"; in record {tally.first[0]}: {tally.example}" if str(tally.example) else ""
    fix = kind.fix
    if code.startswith("video_fps_"):
        fix, evidence = _rate_fix(scan), {**evidence, "copy": _copy(path), "media": scan.media_path}
    return blocking(code, f"{where} have {kind.what} {which}{first}.", fix, path, **evidence)


def _rate_fix(scan: Scan) -> str:
    path, copy = scan.annotation_path, _copy(scan.annotation_path)
    return f"tao-skills data fix-video-fps {path} {copy} --media {scan.media_path}, then use {copy}."


def _copy(path: str) -> str:
    """Return the name of the corrected copy of an annotation file."""
    stem, dot, suffix = path.rpartition(".")
    return f"{stem}.with_fps{dot}{suffix}"


def _formats(scan: Scan) -> list[Finding]:
    """Return a warning when turns are written in several ways: usually two sources were joined by mistake."""
    formats = dict(scan.census.formats)
    if scan.num_usual:
        formats["from/value"] = min(formats.get("from/value", scan.first_usual), scan.first_usual)
    if len(formats) < 2:
        return []
    first = ", ".join(f"{name} from record {index}" for name, index in sorted(formats.items(), key=lambda kv: kv[1]))
    message = f"{scan.annotation_path} has turns of several formats: {first}; all of them are read."
    fix = "If they come from two datasets by mistake, split the file; else nothing is to do."
    return [warning("formats_mixed", message, fix, scan.annotation_path, first=formats)]


def _bare_ranges(scan: Scan) -> list[Finding]:
    census = scan.census
    if not census.num_bare_ranges:
        return []
    message = (
        f"{census.num_bare_ranges} records of {scan.annotation_path} have 'start' or 'end' (record "
        f"{census.first_bare_range} first): these are read as seconds of the video, like video_start and video_end."
    )
    return [info("clip_range_read", message, scan.annotation_path, count=census.num_bare_ranges)]


def _unread(scan: Scan) -> list[Finding]:
    """Return the keys that nobody reads: a warning for those that look like misspelt ones, an info for the others."""
    path, unread = scan.annotation_path, scan.census.unread
    meant = {name: key for name, key in unread.items() if key.meant}
    found = []
    if meant:
        said = [
            f"{name} ({key.count} times{'' if key.first is None else f', record {key.first} first'}; "
            f"did you mean {key.meant}?)"
            for name, key in meant.items()
        ]
        message = f"Records of {path} have keys that nobody reads: {listed(said)}."
        renamed = ", ".join(f"{name} to {key.meant}" for name, key in list(meant.items())[:MAX_LISTED])
        fix = f"Rename {renamed}, or drop the keys."
        found.append(warning("keys_misspelt", message, fix, path, keys={k: v.meant for k, v in meant.items()}))
    others = {name: key.count for name, key in unread.items() if not key.meant}
    if others:
        said = [f"{name} ({count})" for name, count in others.items()]
        message = f"Records of {path} have keys that nobody reads: {listed(said)}."
        found.append(info("keys_not_read", message, path, keys=dict(list(others.items())[:MAX_LISTED])))
    return found


def _duplicates(scan: Scan) -> list[Finding]:
    positions = hashes.repeated(scan.ids)
    if not positions:
        return []
    first = list(positions[:MAX_LISTED])
    names = [str(record["id"]) for record in records_at(scan.annotation_path, first).values()]
    path = scan.annotation_path
    message = f"{len(positions)} records of {path} repeat an earlier id: {listed(names, len(positions))}."
    fix = "Give every record an id that no other one has, or drop the repeated records."
    return [blocking("duplicate_ids", message, fix, path, ids=names, records=first, count=len(positions))]
