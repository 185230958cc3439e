"""demo: the whole flow on a laptop CPU."""

from pathlib import Path
from typing import Annotated

import typer

from tao_skill_bank.cli.output import JsonFlag, document, print_json


def demo(
    name: Annotated[str, typer.Argument(help="Demo to run.")] = "reason",
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that the demo creates.")] = Path("demo"),
    smoke: Annotated[
        bool, typer.Option("--smoke", help="A few steps only, as a smoke test; the results are not checked.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Fine-tune a tiny model of the real architecture on real clips, from data to report."""
    from tao_skill_bank import demo as demos

    summary = demos.run(name, out, smoke=smoke, say=lambda line: typer.echo(line, err=True))
    if as_json:
        print_json(document(summary))
    else:
        typer.echo(summary["report"])
