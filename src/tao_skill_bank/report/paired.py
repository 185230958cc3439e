"""Whether two evaluations of the same questions differ by more than chance."""

import importlib.util
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.core import intervals
from tao_skill_bank.core.intervals import Clips
from tao_skill_bank.report import samples
from tao_skill_bank.report.views import RunView

SEED = 0
SMALLEST_SHOWN_P = 0.0001
NO_SCIPY = "The test and the intervals need scipy: pip install 'tao-skill-bank[train]'"
Pair = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True)
class Change:
    """The mean change of a figure over the questions, and its 95 % interval where it has one."""

    name: str
    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Paired:
    """The last evaluation against the first, on the questions that both answered.

    Attributes:
        unmatched: questions that only one of them answered, or that have another truth.
        lacking: those of them that the first did not answer.
        gained, lost: questions that only the last, or only the first, answered rightly.
        p_value: of McNemar's exact test, two-sided; None without scipy.

    """

    first: str
    last: str
    questions: int
    unmatched: int
    gained: int
    lost: int
    p_value: float | None
    changes: tuple[Change, ...]
    note: str = ""
    lacking: int = 0

    @property
    def p_text(self) -> str:
        """The p-value as people read it; empty without one."""
        if self.p_value is None:
            return ""
        return f"p = {self.p_value:.4f}" if self.p_value >= SMALLEST_SHOWN_P else f"p < {SMALLEST_SHOWN_P:.4f}"


def compare(first: RunView, last: RunView) -> Paired | None:
    """Compare two evaluations; None if they have no question in common."""
    before, after = (dict(_by_question(run)) for run in (first, last))
    shared = [key for key in before if key in after]
    if not shared:
        return None
    right = [(before[key][1], after[key][1]) for key in shared]
    gained, lost = right.count((False, True)), right.count((True, False))
    entries = [(before[key][0], after[key][0]) for key in shared]
    clips = Clips.of([str(entry.get("video_id") or "") for entry, _ in entries], SEED)
    has_scipy = importlib.util.find_spec("scipy") is not None
    steps = {"accuracy": [float(now) - float(then) for then, now in right], **dict(_continuous(entries))}
    return Paired(
        first.title,
        last.title,
        len(shared),
        len(before) + len(after) - 2 * len(shared),
        gained,
        lost,
        mcnemar(gained, lost) if has_scipy else None,
        tuple(_change(name, values, clips, has_scipy) for name, values in steps.items()),
        "" if has_scipy else NO_SCIPY,
        len(after) - len(shared),
    )


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p-value of McNemar's exact test."""
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def _by_question(run: RunView) -> Iterator[tuple[Hashable, tuple[dict[str, Any], bool]]]:
    """Yield every answer and whether it is right, by its question; a repeated one counts its repetitions."""
    seen: Counter[Hashable] = Counter()
    entries = run.evaluation.answers if run.evaluation else ()
    for entry, is_right in zip(entries, samples.verdicts(run), strict=True):
        key = tuple(str(entry.get(name)) for name in ("video_id", "question", "gt", "turn"))
        yield (key, seen[key]), (entry, is_right)
        seen[key] += 1


def _continuous(pairs: Sequence[Pair]) -> Iterator[tuple[str, list[float]]]:
    """Yield the changes of every number that all answers of both evaluations have."""
    for name, value in pairs[0][0].items():
        if isinstance(value, float) and all(isinstance(one.get(name), float) for pair in pairs for one in pair):
            yield name, [after[name] - before[name] for before, after in pairs]


def _change(name: str, values: Sequence[float], clips: Clips, has_scipy: bool) -> Change:
    interval = intervals.of_mean(values, clips) if has_scipy else None
    return Change(name, sum(values) / len(values), (interval.low, interval.high) if interval else None)
