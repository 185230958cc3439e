"""Checks what the records of a dataset say: required fields, turns, ids. One finding per kind of fault."""

from dataclasses import dataclass

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import hashes
from tao_skill_bank.core.findings import MAX_LISTED, blocking, info, listed, warning
from tao_skill_bank.data.scan import Scan, Tally, records_at


@dataclass(frozen=True)
class Fault:
    """How an issue of records is worded: what the records do, and the fix."""

    what: str
    fix: str


FAULTS = {
    "record_not_object": Fault("are no JSON objects", "Write every record as {id, video, video_fps, conversations}."),
    "conversations_missing": Fault(
        "have no '{key}'", "Add '{key}': [{from: human, value}, {from: gpt, value}], or name the right column."
    ),
    "conversations_empty": Fault("have no turn under '{key}'", "Give a list of turns under '{key}', or drop them."),
    "turn_invalid": Fault(
        "have a turn without a known role or text", "Write turns as {from: human | gpt, value} or {role, content}."
    ),
    "answer_missing": Fault("have no assistant turn", "Add a {from: gpt, value} turn, or drop the records."),
    "markers_disagree": Fault(
        "have <video> or <image> markers that do not match the media they name",
        "Write one marker per media file, or none.",
    ),
}


def check(scan: Scan) -> list[Finding]:
    """Return the findings of one annotation file."""
    if scan.failure:
        return [scan.failure]
    path = scan.annotation_path
    if not scan.num_records:
        message = f"Annotation file {path} holds no records."
        return [blocking("annotation_empty", message, "Write at least one record into it.", path)]
    found = [_fault(scan, name, tally) for name, tally in sorted(scan.faults.items())]
    found += _duplicates(scan)
    message = f"{path} holds {scan.num_records} {scan.input.role} records, {scan.num_usable} of them usable."
    evidence = {"records": scan.num_records, "usable": scan.num_usable, "with_video": scan.num_videos}
    return [*found, info("dataset_records", message, path, role=scan.input.role, **evidence)]


def _fault(scan: Scan, name: str, tally: Tally) -> Finding:
    path = scan.annotation_path
    evidence = {"records": tally.first, "count": tally.count}
    where = f"{tally.count} of {scan.num_records} records of {path}"
    which = f"(record {listed(tally.first, tally.count)}, counted from 0)"
    if name == "id_missing":
        message = f"{where} have no id {which}; results name them by position."
        return warning(name, message, "Give every record an id that no other one has.", path, **evidence)
    fault = FAULTS.get(name)
    if fault:
        what, fix = (text.replace("{key}", scan.conversations_key) for text in (fault.what, fault.fix))
        return blocking(name, f"{where} {what} {which}.", fix, path, **evidence)
    field = name.removesuffix("_missing").removesuffix("_invalid")
    what = "have no" if name.endswith("_missing") else "have an invalid"
    return blocking(name, f"{where} {what} {field} {which}.", _field_fix(scan, field), path, **evidence)


def _field_fix(scan: Scan, field: str) -> str:
    path = scan.annotation_path
    if field != "video_fps":
        return f"Add {field} to the records."
    stem, dot, suffix = path.rpartition(".")
    copy = f"{stem}.with_fps{dot}{suffix}"
    return f"tao-skills data fix-video-fps {path} {copy} --media {scan.media_path}, then use {copy}."


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
