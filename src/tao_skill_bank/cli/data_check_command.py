"""data check: the look of preflight at a dataset, without a request."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tao_skill_bank.cli.output import JsonFlag, document, print_findings, print_json, print_rows

if TYPE_CHECKING:
    from tao_skill_bank.data.check.survey import Survey

BLOCKED = 3
BAR_WIDTH = 40


def check(
    path: Annotated[
        Path, typer.Argument(help="Dataset folder, annotation file, or folder of clips, classes or prompts.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="What it is, if unclear: annotations, captioned_clips, class_folders, clips or prompt_pairs.",
        ),
    ] = None,
    media: Annotated[
        Path | None, typer.Option("--media", help="Media folder of annotations; the file's folder by default.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write one self-contained page to this file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Look at a dataset as preflight does: faults, histograms, classes, duplicates, leaks between splits."""
    from tao_skill_bank.cli import data_reading
    from tao_skill_bank.data.check import survey as surveys
    from tao_skill_bank.data.check.detect import Options

    survey = surveys.look(path, kind, data_reading.of_bank(Options(media=media)))
    if html:
        from tao_skill_bank.report import data_check

        data_check.write(survey, html)
    code = 0 if survey.is_usable else BLOCKED
    if as_json:
        page = {"html": str(html)} if html else {}
        print_json(document({**_payload(survey), **page}, code=code, findings=survey.findings))
    else:
        _print(survey)
        if html:
            typer.echo(f"page: {html}", err=True)
    raise typer.Exit(code)


def _payload(survey: "Survey") -> dict[str, Any]:
    from tao_skill_bank.contracts import to_json

    splits = [{**to_json(split), "classes": dict(split.classes)} for split in survey.splits]
    return {
        "path": survey.path,
        "kind": survey.kind,
        "splits": splits,
        "histograms": [to_json(histogram) for histogram in survey.histograms],
    }


def _print(survey: "Survey") -> None:
    typer.echo(f"{survey.path}: {survey.kind}\n")
    header = ("split", "usable", "", "media", "unreadable", "seconds")
    rows = [
        (each.name or "all", each.num_usable, each.noun, each.num_media, each.num_broken, f"{each.seconds:.1f}")
        for each in survey.splits
    ]
    print_rows(header, rows)
    for histogram in survey.histograms:
        unit = f" ({histogram.unit})" if histogram.unit else ""
        typer.echo(f"\n{histogram.title}{unit}" + (f": not shown, {histogram.missing}" if histogram.missing else ""))
        bars = [
            (bar.label, bar.count, f"{100 * bar.count / histogram.count:.0f}%", _bar(bar.count, histogram.largest))
            for bar in histogram.bars
        ]
        if bars:
            print_rows((histogram.title.lower(), "count", "share", ""), bars)
    print_findings(survey.findings)


def _bar(count: int, largest: int) -> str:
    return "█" * round(BAR_WIDTH * count / largest) if largest else ""
