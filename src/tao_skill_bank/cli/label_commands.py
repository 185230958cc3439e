"""label export, import, review: labels in the hands of people."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tao_skill_bank.cli import serving
from tao_skill_bank.cli.output import (
    JsonFlag,
    command,
    document,
    print_findings,
    print_json,
    print_next,
    print_rows,
)
from tao_skill_bank.cli.serving import PortOption

if TYPE_CHECKING:
    from tao_skill_bank.labelling.records_file import RecordsFile
    from tao_skill_bank.labelling.review_file import Review

app = typer.Typer(no_args_is_help=True)
Target = Annotated[
    str, typer.Argument(metavar="JOB|ANNOTATIONS", help="Job that labelled clips, or an annotation file.")
]
MediaOption = Annotated[
    Path | None, typer.Option("--media", help="Folder of the media; `media` next to the annotations by default.")
]
ReviewOption = Annotated[
    Path | None, typer.Option("--out", help="Review file; review.jsonl next to the annotations by default.")
]
REVIEW = "review.jsonl"


@app.command("export")
def export(target: Target, out: ReviewOption = None, media: MediaOption = None, as_json: JsonFlag = False) -> None:
    """Write a line per record, for people to fill in `decision`: accept, correct (with `correction`) or reject."""
    review, _ = _opened(target, out, media)
    following = [command("label", "import", review.path, "--out", review.path.with_name("reviewed.json"))]
    if as_json:
        print_json(document(_payload(review), following=following))
        return
    _print(review)
    print_next(following)


@app.command("import")
def import_(
    review: Annotated[Path, typer.Argument(help="Review file with decisions.")],
    out: Annotated[Path, typer.Option("--out", help="New annotation file.")],
    as_json: JsonFlag = False,
) -> None:
    """Write the accepted and corrected records as a new annotation file."""
    from tao_skill_bank.core.locations import absolute
    from tao_skill_bank.labelling import importing, review_file

    written = importing.write(review_file.read(absolute(review)), absolute(out))
    if as_json:
        payload = {"annotations": str(written.target), "media": written.media, "counts": written.counts}
        print_json(document(payload, findings=written.findings))
        return
    print_rows(("annotations", "media"), [(written.target, written.media)])
    print_rows(("decision", "records"), list(written.counts.items()))
    print_findings(written.findings)


@app.command("review")
def review(
    target: Target,
    out: ReviewOption = None,
    media: MediaOption = None,
    port: PortOption = 0,
    as_json: JsonFlag = False,
) -> None:
    """Accept, correct or reject records by keyboard in a browser, on this machine alone, until Ctrl-C."""
    serving.require_extra()
    from tao_skill_bank.labelling.application import ReviewPages
    from tao_skill_bank.ui.access import Site

    opened, records = _opened(target, out, media)
    pages = ReviewPages(opened, records.media).application()
    serving.serve(port, Site(pages, "tao-skills label review", writes=True), as_json=as_json)


def _opened(target: str, out: Path | None, media: Path | None) -> "tuple[Review, RecordsFile]":
    from tao_skill_bank.core.locations import absolute
    from tao_skill_bank.labelling import records_file, review_file

    path, folder = records_file.locate(target, media and absolute(media))
    records = records_file.read(path, folder)
    return review_file.export(records, absolute(out) if out else path.with_name(REVIEW)), records


def _payload(review: "Review") -> dict[str, Any]:
    return {
        "review": str(review.path),
        "media": review.head.get("media"),
        "records": len(review.items),
        "counts": review.counts,
    }


def _print(review: "Review") -> None:
    shown = _payload(review)
    print_rows(("review", "records"), [(shown["review"], shown["records"])])
    print_rows(("decision", "records"), list(shown["counts"].items()))
