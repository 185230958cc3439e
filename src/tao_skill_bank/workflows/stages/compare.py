"""Compares two evaluations of the same questions: by how much the later one is better, and how sure that is."""

from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import contract
from tao_skill_bank.errors import BlockedError, MissingExtraError, UnknownNameError
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.report import against, paired
from tao_skill_bank.report.paired import Change, Paired
from tao_skill_bank.runs.run_directory import masked_json, write_whole
from tao_skill_bank.workflows.stage import Context

FILE = "comparison.json"
OUTPUTS = {
    "gain": "mean change of the metric over the questions that both answered",
    "ci_low": "lower end of its 95 % interval; null where it has none",
    "ci_high": "upper end",
    "p_value": "of McNemar's exact test on the answers",
    "questions": "that both answered",
    "newly_right": "questions that only the later one answered rightly",
    "newly_wrong": "questions that only the earlier one answered rightly",
}


@contract
class Arguments:
    """Two evaluation jobs, and the figure that counts."""

    before: str
    after: str
    metric: str = "accuracy"


def promised(_arguments: Arguments, folder: Path) -> list[Path]:
    """Return the comparison as a document."""
    return [folder / FILE]


def run(arguments: Arguments, context: Context) -> dict[str, Any]:
    """Compare the jobs.

    Raises:
        BlockedError: one of them answers no questions, or none of the questions is the same.
        UnknownNameError: no such job, or no such metric in both.
        MissingExtraError: scipy, which the interval needs, is not installed.

    """
    sides = [(job, JobHandle(job).run_directory) for job in (arguments.before, arguments.after)]
    compared = against.compare(sides[0], sides[1])
    if compared is None:
        message = f"Neither {arguments.before} nor {arguments.after} answers questions, so nothing is compared."
        raise BlockedError.of("nothing_to_compare", message, "Name two evaluations of the same data.", path="before")
    if compared.note == paired.NO_SCIPY:
        raise MissingExtraError.for_module("scipy", "train")
    change = _change(compared, arguments.metric)
    low, high = change.interval or ((0.0, 0.0) if _is_unchanged(change, compared) else (None, None))
    write_whole(context.folder / FILE, masked_json(against.to_json(compared)))
    return {
        "gain": change.value,
        "ci_low": low,
        "ci_high": high,
        "p_value": compared.p_value,
        "questions": compared.questions,
        "newly_right": compared.gained,
        "newly_wrong": compared.lost,
    }


def folder_of(job: str) -> Path:
    """Return the run directory of a job. Raises UnknownNameError."""
    return JobHandle(job).run_directory.path


def _change(compared: Paired, metric: str) -> Change:
    found = {change.name: change for change in compared.changes}
    if metric not in found:
        message = f"{compared.first} and {compared.last} have no figure '{metric}' of single answers to compare."
        raise UnknownNameError.of("unknown_metric", message, f"Use one of: {', '.join(found)}.", path="metric")
    return found[metric]


def _is_unchanged(change: Change, compared: Paired) -> bool:
    """Return whether not one answer changed, so that there is no spread to resample."""
    return change.name == "accuracy" and not compared.gained and not compared.lost
