"""Finds what a model answers wrongly: the gaps of an evaluation, as parquet for mining and as JSON lines."""

from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import contract
from tao_skill_bank.core import locations
from tao_skill_bank.jobs import named_results
from tao_skill_bank.runs.gaps import analyze
from tao_skill_bank.runs.gaps.report import Match
from tao_skill_bank.workflows import datasets
from tao_skill_bank.workflows.stage import Context

GAPS, KPI_GAPS = "gaps.parquet", "kpi_gaps.jsonl"
OUTPUTS = {
    "gaps": "parquet of the gaps, without rows where there are none",
    "kpi_gaps": "the same as JSON lines: video_id, error_type, question, ground_truth, response",
    "count": "gaps",
    "answers": "answers that were read; not called `rows`, since they are not rows of a new dataset",
    "accuracy": "share of the answers that are no gaps",
    "differ": "answers that the rules exact and evaluation judge differently; null without verdicts",
    "unmatched": "answers that no record has; null without annotations",
    "error_types": "gaps of each type of error, as error_types.FP",
}


@contract
class Arguments:
    """An evaluation.

    Attributes:
        results: its job, its run directory, or a results.json.
        annotations: the records that were evaluated; by default those of the plan of the run.
        media: the folder of their media; by default that of the plan.
        match: the rule by which an answer is a gap.

    """

    results: str
    annotations: datasets.Named | None = None
    media: str | None = None
    match: Match = "exact"


def promised(_arguments: Arguments, folder: Path) -> list[Path]:
    """Return the gaps in both forms."""
    return [folder / GAPS, folder / KPI_GAPS]


def run(arguments: Arguments, context: Context) -> dict[str, Any]:
    """Write the gaps; none are a result.

    Raises:
        UnknownNameError: no such job.
        BlockedError: the results cannot be used, see `runs.gaps.analyze`.
        MissingExtraError: pyarrow is not installed.

    """
    named, media = arguments.annotations, arguments.media
    records = datasets.placed(named, media) if named else None
    report = analyze(
        named_results.find(arguments.results),
        context.folder / GAPS,
        records.annotations if records else None,
        records.media if records else locations.absolute(media) if media else None,
        match=arguments.match,
        kpi_gaps=context.folder / KPI_GAPS,
    )
    for line in report.warnings:
        context.say(f"warning: {line}")
    context.say(f"{report.gaps} gaps in {report.records} answers")
    document = report.to_json()
    return {name: document[name] for name in OUTPUTS}
