"""Says what was mined: by class and reason, and which query found which clip."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.contracts import Finding, to_json
from tao_skill_bank.core.findings import MAX_LISTED, info, listed, not_checked, warning
from tao_skill_bank.errors import BlockedError, ConflictError, Problem
from tao_skill_bank.mining import differences, pool_records
from tao_skill_bank.mining.leaks import Checker
from tao_skill_bank.mining.mined_log import Mined
from tao_skill_bank.mining.pool import Pool
from tao_skill_bank.mining.queries import Queries
from tao_skill_bank.mining.request import Request
from tao_skill_bank.mining.search import NO_ROW, Nearest
from tao_skill_bank.mining.selection import Choice

REASONS = {
    "embedding_unusable": "have an embedding that is zero or not finite",
    "repeated_row": "repeat another row",
    "without_record": "have no record in the annotations of the pool",
    "same_file_held_out": "are files of the KPI or test sets",
    "same_content_held_out": "have the content of a KPI or test clip",
    "near_duplicate_held_out": "show what a KPI or test clip shows",
    "same_source_held_out": "come from a source of the test sets",
    "mined_before": "were mined before",
    "copy_in_pool": "are copies of other mined clips",
    "changed_since_embedded": "changed since they were embedded",
    "unreadable": "cannot be read",
}
LEAKS = ("same_file_held_out", "same_content_held_out", "near_duplicate_held_out", "same_source_held_out")
FAULTS = ("embedding_unusable", "changed_since_embedded", "unreadable")
NO_RECORD_FIX = "Give the folder of the media with --pool-media: below it, names of media must be paths of the parquet."


@dataclass(frozen=True)
class Result:
    """A finished mining, before it is written."""

    request: Request
    queries: Queries
    pool: Pool
    checker: Checker
    choice: Choice


def records(result: Result, mined: Mined) -> list[dict[str, Any]] | None:
    """Return the mined records in the order of their choice, each id once; None for a pool without records.

    Raises:
        BlockedError: a record has no usable id or media names, see `pool_records.with_whole_names`.
        ConflictError: an id belongs to a record of another clip that was mined before.

    """
    annotations = result.pool.annotations
    if annotations is None:
        return None
    clips: dict[int, str] = {}
    for item in result.choice.items:
        assert item.record is not None
        clips.setdefault(item.record, result.pool.path(item.row))
    whole = pool_records.with_whole_names(annotations, clips)
    taken = [
        (annotations.ids[position], path)
        for position, path in clips.items()
        if mined.records.get(annotations.ids[position], path) != path
    ]
    if taken:
        problems = [
            Problem(
                "id_conflict",
                f"The id {name} of {path} is that of {mined.records[name]}, which was mined before.",
                "Give the records of every pool ids of their own.",
                str(annotations.path),
            )
            for name, path in taken[:100]
        ]
        raise ConflictError(problems)
    return list({annotations.ids[position]: whole[position] for position in clips}.values())


def document(result: Result, mining: str, mined: Mined, kpi_files: Sequence[str]) -> dict[str, Any]:
    """Return the content of mined_summary.json."""
    request, pool, choice = result.request, result.pool, result.choice
    clips = _clips(result)
    found = {pick.query for pick in choice.picks}
    without = [query.filepath for number, query in enumerate(result.queries.used) if number not in found]
    distances = [clip["distance"] for clip in clips]
    return {
        "mining": mining,
        "request": request.described(),
        "model": pool.embeddings.model,
        "is_labelled": pool.is_labelled,
        "counts": {
            "pool_rows": pool.embeddings.num_rows,
            "queries": len(result.queries.used),
            "queries_without_clips": len(without),
            "clips": len(clips),
            "records": len(choice.items) if pool.is_labelled else None,
            "left_out_of_full_classes": choice.num_full,
        },
        "classes": dict(sorted(Counter(item.class_name for item in choice.items).items())),
        "excluded": dict(pool.counts),
        "excluded_first": pool.first,
        "distances": {"min": min(distances), "median": statistics.median(distances), "max": max(distances)},
        "queries_without_clips": list(dict.fromkeys(without))[:MAX_LISTED],
        "clips": clips,
        "findings": [to_json(found) for found in _findings(result, mined, kpi_files)],
    }


def unlabelled(document: Mapping[str, Any], checker: Checker) -> list[dict[str, Any]]:
    """Return a line per mined clip, for the labelling of a pool without records."""
    lines = []
    for clip in document["clips"]:
        seen = checker.prints.get(clip["path"])
        rate = {"video_fps": seen.rate} if seen and seen.rate else {}
        name = f"mined-{clip['content_sha256'][:16]}"
        content = {"content_sha256": clip["content_sha256"], "found_by": clip["found_by"]}
        lines.append({"id": name, "video": clip["path"], **rate, **content})
    return lines


def nothing_mined(pool: Pool, nearest: Nearest, request: Request) -> BlockedError:
    """Return the error of a mining in which no clip is left."""
    reasons = [f"{count} {REASONS[reason]}" for reason, count in pool.counts.items()]
    is_left = (nearest.rows != NO_ROW) & pool.is_open[nearest.rows]
    if request.rules.threshold is not None and is_left.any():
        closest = float(nearest.distances[is_left].min())
        reasons.append(f"the nearest other clip is at a distance of {closest:.4g}")
    message = f"Nothing of {request.pool} can be mined: {'; '.join(reasons) or 'no record is of a class of the gaps'}."
    fix = "Give a larger pool" + (", or raise --threshold." if request.rules.threshold is not None else ".")
    if pool.counts["without_record"]:
        fix = NO_RECORD_FIX
    return BlockedError.of("nothing_mined", message, fix, path=str(request.pool))


def _clips(result: Result) -> list[dict[str, Any]]:
    """Return one entry per mined clip, in the order of their choice."""
    pool, queries, annotations = result.pool, result.queries.used, result.pool.annotations
    found_by: dict[int, list[dict[str, Any]]] = {}
    for pick in result.choice.picks:
        query = queries[pick.query]
        found_by.setdefault(pick.row, []).append(
            {
                "filepath": query.filepath,
                "question": query.question,
                "record_id": query.record_id,
                "ground_truth": query.ground_truth,
                "rank": pick.rank,
                "distance": pick.distance,
            }
        )
    clips: dict[str, dict[str, Any]] = {}
    rows: set[int] = set()
    for item in result.choice.items:
        path = pool.path(item.row)
        clip = clips.setdefault(
            path,
            {
                "path": path,
                "content_sha256": result.checker.contents[path],
                "record_ids": [],
                "classes": [],
                "found_by": [],
            },
        )
        if item.record is not None and annotations is not None:
            clip["record_ids"].append(annotations.ids[item.record])
        clip["classes"].append(item.class_name)
        if item.row not in rows:
            rows.add(item.row)
            clip["found_by"] += found_by[item.row]
    for clip in clips.values():
        clip["record_ids"] = list(dict.fromkeys(clip["record_ids"]))
        clip["classes"] = list(dict.fromkeys(clip["classes"]))
        clip["distance"] = min(each["distance"] for each in clip["found_by"])
    return list(clips.values())


def _findings(result: Result, mined: Mined, kpi_files: Sequence[str]) -> list[Finding]:
    request, checker = result.request, result.checker
    path = str(request.pool)
    found = [*result.queries.findings]
    found += mined.findings(request.log) if request.log else []
    found += [_excluded(result.pool, reason, path) for reason in result.pool.counts]
    found += _not_checked(result)
    if request.compares_frames:
        shown = [checker.prints[file] for file in dict.fromkeys(map(result.pool.path, _rows(result)))]
        kpi = [checker.held_out_prints[file] for file in kpi_files if file in checker.held_out_prints]
        found += differences.findings(shown, kpi, path)
    return found + _short_classes(result, path)


def _rows(result: Result) -> list[int]:
    return [item.row for item in result.choice.items]


def _excluded(pool: Pool, reason: str, path: str) -> Finding:
    count, first = pool.counts[reason], [entry["path"] for entry in pool.first[reason]]
    message = f"{count} rows of the pool {REASONS[reason]} and are not mined: {listed(first, count)}."
    if reason in LEAKS:
        return warning(f"pool_{reason}", message, "Take them out of the pool.", path, count=count, files=first)
    if reason in FAULTS:
        return warning(f"pool_{reason}", message, "Embed these clips again.", path, count=count, files=first)
    if reason == "without_record":
        return warning(f"pool_{reason}", message, NO_RECORD_FIX, path, count=count, files=first)
    return info(f"pool_{reason}", message, path, count=count, files=first)


def _not_checked(result: Result) -> list[Finding]:
    request, checker, path = result.request, result.checker, str(result.request.pool)
    found = []
    if not request.source_key:
        message = "Whether mined clips come from the same recordings as the KPI and test clips is not checked."
        fix = "Name the key of the records that says so: --source-key, with --pool-annotations and --against."
        found.append(not_checked("source_not_checked", message, fix, path))
    if not request.compares_frames:
        message = "Near-duplicates of KPI and test clips, and other sizes and rates, are not looked for."
        found.append(not_checked("frames_not_checked", message, "Leave --no-frames out.", path))
    if not request.against:
        message = "Mined clips are compared with the KPI set only."
        fix = "Give the annotations of the test set: --against FILE."
        found.append(not_checked("test_set_not_checked", message, fix, path))
    if checker.unread:
        names = sorted(checker.unread)
        message = f"{len(names)} KPI or test clips cannot be read, so nothing is compared with them: {listed(names)}."
        found.append(not_checked("held_out_unreadable", message, "Make them readable.", path, files=names[:MAX_LISTED]))
    return found


def _short_classes(result: Result, path: str) -> list[Finding]:
    wanted = result.request.rules.per_class
    if wanted is None:
        return []
    counts = Counter(item.class_name for item in result.choice.items)
    names = {query.class_name for query in result.queries.used if query.class_name} | counts.keys()
    short = [f"{counts[name]} of {name!r}" for name in sorted(names) if counts[name] < wanted]
    if not short:
        return []
    message = f"Fewer than {wanted} were mined of some classes: {listed(short)}."
    return [warning("classes_short", message, "Raise --top-k or --threshold, or add a pool.", path, classes=short[:20])]
