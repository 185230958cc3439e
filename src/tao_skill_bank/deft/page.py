"""The page of a DEFT run: what changed, by how much and how sure; then its rounds, its data, its answers."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.deft import tables
from tao_skill_bank.deft.rounds import Loop
from tao_skill_bank.report import write_report
from tao_skill_bank.report.opening import Opening
from tao_skill_bank.runs.run_directory import RunDirectory
from tao_skill_bank.workflows import page as workflow_page
from tao_skill_bank.workflows.log import Event
from tao_skill_bank.workflows.occurrences import REPORT
from tao_skill_bank.workflows.standing import Standing


def write(found: Standing, out: Path | None = None) -> tuple[Path, str]:
    """Write the page of a run at any moment of it; return its path and its sentence. Raises BlockedError."""
    loop = Loop.of(found)
    steps = workflow_page.opening(found)
    said = sentence(found, loop)
    opening = Opening("DEFT", said, steps.steps, tuple(tables.of(found, loop)))
    return write_report(dict(_shown(loop)), out or found.folder / REPORT, opening), said


def sentence(found: Standing, loop: Loop) -> str:
    """Return what came of a run; of one that has not ended well, how far it is."""
    if found.state != "COMPLETE":
        return workflow_page.opening(found).sentence
    ended = f"The loop ended after {_rounds(len(loop.rounds))}: {loop.reason or found.summary}."
    if loop.answer is None:
        return f"The model stays as it was. {ended}"
    if loop.test_gain:
        before, after = (loop.accuracy(name) for name in (loop.test_before, loop.test_after))
        return f"On the test set, on which nothing was chosen, {_change(before, after, loop.test_gain)}. {ended}"
    before, after = loop.accuracy(loop.baseline), loop.best_score
    text = f"On the KPI set the accuracy went from {_percent(before)} to {_percent(after)}"
    return f"{text}; this is optimistic, because choices were made on it. {ended}"


def _change(before: float | None, after: float | None, gain: Mapping[str, Any]) -> str:
    text = f"the accuracy went from {_percent(before)} to {_percent(after)}: {_points(gain['gain'])} points"
    if gain.get("ci_low") is not None and gain.get("ci_high") is not None:
        text += f", 95 % interval {_points(gain['ci_low'])} to {_points(gain['ci_high'])}"
    return f"{text}, over {gain['questions']} questions ({gain['newly_right']} fixed, {gain['newly_wrong']} broken)"


def _shown(loop: Loop) -> Iterator[tuple[str, RunDirectory]]:
    """Yield the runs that the page shows: on the test set where there is one, and the training between them."""
    pair = (loop.test_before, loop.test_after) if loop.test_after else (loop.baseline, loop.best_evaluation)
    first, last = pair
    for event in (first, loop.best_training, last):
        if event is not None and event.job is not None and Path(event.folder).is_dir():
            yield _label(event), RunDirectory(Path(event.folder))


def _label(event: Event) -> str:
    return f"{event.step}, round {event.iteration}" if event.iteration else event.step


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _percent(value: float | None) -> str:
    return "an unknown value" if value is None else f"{value:.1%}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"
