"""An evaluation against an earlier one, in numbers and words: the figures that the page shows as a section."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.report import paired, views
from tao_skill_bank.report.paired import Paired
from tao_skill_bank.report.views import RunView
from tao_skill_bank.runs.run_directory import RunDirectory

SIGNIFICANT = 0.05


def compare(before: tuple[str, RunDirectory], after: tuple[str, RunDirectory]) -> Paired | None:
    """Compare two jobs, each given by its id and run directory, on the questions that both answered.

    Returns:
        None where neither answers questions: nothing is paired then.

    Raises:
        BlockedError: only one of them answers questions, or none of the questions is the same.

    """
    first, last = (views.read(*each) for each in (before, after))
    answering = [run for run in (first, last) if _answers(run)]
    if not answering:
        return None
    if len(answering) == 1:
        other = last if answering[0] is first else first
        message = f"{other.title} answers no questions, so {answering[0].title} cannot be compared with it."
        fix = f"Evaluate its model on the same data and name that job; the base: {_measure_again(answering[0])}"
        raise BlockedError.of("nothing_to_compare", message, fix, path=other.title)
    compared = paired.compare(first, last)
    if compared is None:
        message = f"{first.title} and {last.title} have no question in common, so nothing of them can be compared."
        fix = f"Measure the earlier model on the same data: {_measure_again(last)}"
        raise BlockedError.of("nothing_to_compare", message, fix, path=first.title)
    return compared


def _answers(run: RunView) -> bool:
    return run.evaluation is not None and bool(run.evaluation.answers)


def _measure_again(run: RunView) -> str:
    words = ["tao-skills", "run", run.result.skill, run.result.action, "--parent", run.title, "--base"]
    return shlex.join(words)


def findings(compared: Paired) -> list[Finding]:
    """Return that the earlier evaluation lacks questions of the later one, where it does."""
    if not compared.lacking:
        return []
    message = f"{compared.lacking} questions of {compared.last} are not among those of {compared.first}: the two are "
    message += f"compared on the {compared.questions} that both answered."
    fix = f"Evaluate {compared.first} on the data of {compared.last}; of its base: --parent {compared.last} --base"
    return [Finding("questions_lacking", "warning", message, fix, compared.first, {"lacking": compared.lacking})]


def to_json(compared: Paired) -> dict[str, Any]:
    """Return the comparison as a document."""
    return asdict(compared)


def lines(compared: Paired) -> Iterator[str]:
    """Yield the comparison as lines of text: every change with its interval, and the test."""
    yield f"{compared.last} against {compared.first}, on {compared.questions} questions that both answered"
    for change in compared.changes:
        ends = ", 95 % interval {:+.4f} to {:+.4f}".format(*change.interval) if change.interval else ""
        yield f"{change.name} {change.value:+.4f}{ends}"
    test = ""
    if compared.p_value is not None:
        verdict = "is unlikely to be chance" if compared.p_value < SIGNIFICANT else "may be chance"
        test = f"; McNemar p = {compared.p_value:.4f}: the difference {verdict}"
    yield f"newly right {compared.gained}, newly wrong {compared.lost}{test}"
    if compared.note:
        yield compared.note
