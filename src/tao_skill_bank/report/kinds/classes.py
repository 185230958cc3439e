"""Classification: confusion matrices, per-class scores, and the misclassified samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.report.views import RunView

MAX_SHOWN = 20


@dataclass(frozen=True)
class Mistake:
    """A misclassified sample; `score` is the probability of the prediction, None without one."""

    sample: str
    truth: str
    prediction: str
    score: float | None


def view(runs: Sequence[RunView]) -> dict[str, Any]:
    """Return the most confident mistakes of the last evaluation, their number, and the number of incomplete entries."""
    last = runs[-1]
    entries = last.evaluation.entries if last.evaluation else ()
    complete = [entry for entry in entries if entry.get("truth") is not None and entry.get("prediction") is not None]
    found = [_mistake(entry) for entry in complete if entry["truth"] != entry["prediction"]]
    found.sort(key=lambda mistake: -(mistake.score or 0.0))
    return {
        "run": last.title,
        "mistakes": found[:MAX_SHOWN],
        "num_mistakes": len(found),
        "num_entries": len(complete),
        "num_incomplete": len(entries) - len(complete),
    }


def _mistake(entry: dict[str, Any]) -> Mistake:
    score = entry.get("score")
    return Mistake(
        str(entry.get("sample") or "–"),
        str(entry["truth"]),
        str(entry["prediction"]),
        float(score) if isinstance(score, (int, float)) else None,
    )
