"""gaps: the wrong answers of an evaluation, for mining and training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tao_skill_bank.cli.job_names import suggests_jobs
from tao_skill_bank.cli.output import JsonFlag, document, print_findings, print_json, print_rows

if TYPE_CHECKING:
    from tao_skill_bank.runs.gaps import GapReport


@suggests_jobs
def gaps(
    results: Annotated[
        str, typer.Argument(metavar="JOB|RESULTS", help="Job id, run directory, folder with results.json, or the file.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Parquet file; replaced where it exists.")] = Path("gaps.parquet"),
    annotations: Annotated[
        Path | None,
        typer.Option("--annotations", help="Records that were evaluated; those of the run's plan by default."),
    ] = None,
    media: Annotated[
        Path | None, typer.Option("--media", help="Folder that names of videos are below; the run's own by default.")
    ] = None,
    kpi_gaps: Annotated[
        Path | None, typer.Option("--kpi-gaps", help="JSON lines of the gaps, as the public bank writes them.")
    ] = None,
    match: Annotated[
        str,
        typer.Option(
            "--match", help="A gap differs from the truth after lower().strip() (exact), or is not right by evaluation."
        ),
    ] = "exact",
    as_json: JsonFlag = False,
) -> None:
    """Write the wrong answers of an evaluation as parquet: question, truth, answer, type of error, cluster.

    Both rules of --match are computed where the results name verdicts; the answers on which they differ are counted.
    """
    from tao_skill_bank.core.locations import absolute
    from tao_skill_bank.jobs import named_results
    from tao_skill_bank.runs.gaps import analyze

    report = analyze(
        named_results.find(results),
        absolute(out),
        annotations and absolute(annotations),
        media and absolute(media),
        match=match,  # type: ignore[arg-type]  # refused with the fix
        kpi_gaps=kpi_gaps and absolute(kpi_gaps),
    )
    if as_json:
        print_json(document(report.to_json(), findings=report.findings))
    else:
        _print(report)


def _print(report: "GapReport") -> None:
    figures = [f"gaps={report.gaps}", f"answers={report.records}", f"accuracy={report.accuracy:.4f}"]
    figures += [] if report.differ is None else [f"differ={report.differ}"]
    typer.echo("\t".join((str(report.parquet), *figures)))
    if report.kpi_gaps:
        typer.echo(report.kpi_gaps)
    if not report.gaps:
        typer.echo("There are no gaps: every answer is right.")
        print_findings(report.findings)
        return
    print_rows(("error", "gaps"), list(report.error_types.items()))
    if report.clusters:
        rows = [
            (each.cluster, each.gaps, each.question[:80], each.ground_truth[:40], (each.parsed_answer or "-")[:40])
            for each in report.clusters
        ]
        print_rows(("cluster", "gaps", "question", "truth", "answer"), rows)
    print_findings(report.findings)
