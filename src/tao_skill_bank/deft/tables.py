"""What a DEFT run's page says of its rounds: figures, the largest groups of gaps, where data came from, what helped."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader
from tao_skill_bank.deft.rounds import Loop, Round
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.report.opening import Table
from tao_skill_bank.workflows.standing import Standing

SHOWN = 12  # rows of a table that may be long
OUTCOMES = {
    "improved": "better: it replaces the best so far",
    "target_met": "better, and the target is met",
    "no_gain": "not surely better: the best so far stays",
    "regression": "worse: the best so far stays",
}


def of(found: Standing, loop: Loop) -> Iterator[Table]:
    """Yield the tables that have rows."""
    made = (_rounds(loop), _gaps(loop), _lineage(loop), _helpful(loop), _cost(found))
    yield from (table for table in made if table.rows)


def _rounds(loop: Loop) -> Table:
    rows = tuple(
        (
            str(each.number),
            str(each.output("gaps", "count")),
            str((each.output("mined", "rows") or 0) + (each.output("accepted", "rows") or 0)),
            str(each.output("merged", "rows")),
            _percent(each.output("tuned", "metrics")),
            _interval(each),
            f"{each.output('decision', 'newly_right')} / {each.output('decision', 'newly_wrong')}",
            OUTCOMES.get(str(each.output("decision", "outcome")), str(each.output("decision", "outcome"))),
        )
        for each in loop.rounds
    )
    columns = (
        "Round",
        "Gaps before",
        "Mined",
        "Trained on",
        "KPI accuracy",
        "Gain, points",
        "Fixed / broken",
        "Outcome",
    )
    return Table("Rounds", columns, rows, note="The KPI set is what gaps are found and choices made on.")


def _gaps(loop: Loop) -> Table:
    """Return the largest groups of gaps of the first round, and what is left of them after the last one."""
    first = _groups(loop.rounds[0]) if loop.rounds else Counter()
    most = max(first.values(), default=1)
    rows = tuple((f"{truth} answered as {said}", str(count)) for (truth, said), count in first.most_common(SHOWN))
    bars = tuple(count / most for _, count in first.most_common(SHOWN))
    return Table("Gaps of the first round", ("Right answer and what was said", "Questions"), rows, bars)


def _groups(each: Round) -> "Counter[tuple[str, str]]":
    path = each.output("gaps", "kpi_gaps")
    groups: Counter[tuple[str, str]] = Counter()
    if not isinstance(path, str) or not Path(path).is_file():
        return groups
    with Path(path).open(encoding="utf-8") as file:
        for line in file:
            gap = json.loads(line)
            groups[_short(gap.get("ground_truth")), _short(gap.get("response"))] += 1
    return groups


def _lineage(loop: Loop) -> Table:
    rows = []
    for each in loop.rounds:
        merged, added = each.output("merged", "taken"), each.output("added", "taken")
        if isinstance(merged, Mapping) and isinstance(added, Mapping):
            parts = {"earlier training data": merged.get("old", 0), **added}
            rows.append((str(each.number), ", ".join(f"{count} {name}" for name, count in parts.items() if count)))
    note = "Ids and hashes of every source are in merged/lineage.json of the round."
    return Table("Data that was trained on", ("Round", "Records"), tuple(rows), note=note)


def _helpful(loop: Loop) -> Table:
    """Return the mined clips that most questions which were fixed had led to."""
    fixed: Counter[str] = Counter()
    nearest: dict[str, float] = {}
    for each in loop.rounds:
        questions = _fixed(each)
        for clip in _document(each.output("mined", "summary")).get("clips", ()):
            found = [by for by in clip.get("found_by", ()) if (by.get("filepath"), by.get("question")) in questions]
            if found:
                name = Path(str(clip.get("path"))).name
                fixed[name] += len(found)
                nearest[name] = min([nearest.get(name, float("inf")), *(float(by["distance"]) for by in found)])
    rows = tuple((name, str(count), f"{nearest[name]:.4f}") for name, count in fixed.most_common(SHOWN))
    columns = ("Mined clip", "Fixed questions that it was mined for", "Smallest distance")
    return Table("Added clips nearest to what was fixed", columns, rows)


def _fixed(each: Round) -> set[tuple[str, str]]:
    """Return clip and question of the gaps of a round that its training answers rightly."""
    path, tuned = each.output("gaps", "kpi_gaps"), each.steps.get("tuned")
    if not isinstance(path, str) or not Path(path).is_file() or tuned is None:
        return set()
    entries = _document(Path(tuned.folder) / "results.json")
    right = {
        (Path(str(entry.get("video_id"))).name, entry.get("question"))
        for entry in (entries if isinstance(entries, list) else [])
        if entry.get("verdict") == "right"
    }
    with Path(path).open(encoding="utf-8") as file:
        gaps = [json.loads(line) for line in file]
    return {
        (gap["video_id"], gap["question"]) for gap in gaps if (Path(gap["video_id"]).name, gap["question"]) in right
    }


def _cost(found: Standing) -> Table:
    spent = found.spent
    rows = (
        ("Hours of processes", f"{spent.gpu_hours:.3f}", _limit(found.sealed.limits.gpu_hours)),
        ("Disk, GiB", f"{spent.disk_gib:.2f}", _limit(found.sealed.limits.disk_gib)),
        ("Records in new datasets", str(spent.rows), _limit(found.sealed.limits.rows)),
    )
    return Table("Cost", ("What", "Spent", "Limit"), rows)


def _limit(value: Any) -> str:
    return "–" if value is None else str(value)


def _document(path: Any) -> Any:
    try:
        return json_reader.loads(Path(str(path)).read_bytes()) if path else {}
    except (OSError, ValueError, TaoSkillsError):  # removed since: the table lacks it
        return {}


def _percent(metrics: Any) -> str:
    value = metrics.get("accuracy") if isinstance(metrics, Mapping) else None
    return "–" if value is None else f"{value:.1%}"


def _interval(each: Round) -> str:
    gain, low, high = (each.output("decision", name) for name in ("gain", "ci_low", "ci_high"))
    text = "–" if gain is None else f"{100 * gain:+.1f}"
    return f"{text} ({100 * low:+.1f} to {100 * high:+.1f})" if low is not None and high is not None else text


def _short(text: Any) -> str:
    words = str(text if text is not None else "").strip()
    return words if len(words) <= 40 else f"{words[:39]}…"
