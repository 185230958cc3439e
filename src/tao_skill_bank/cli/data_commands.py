"""data sample, data fix-video-fps."""

from pathlib import Path
from typing import Annotated

import typer

from tao_skill_bank.cli.output import JsonFlag, command, document, print_json, print_next

app = typer.Typer(no_args_is_help=True)


@app.command("sample")
def sample(
    kind: Annotated[str, typer.Argument(help="Kind of data: vlm (video question answering).")],
    out: Annotated[Path, typer.Argument(help="New folder; gets train, val and test.")],
    seed: Annotated[int, typer.Option(help="Seed of the first split; the others follow.", min=0)] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Make small real mp4 clips with annotations, for tutorials and tests."""
    from tao_skill_bank import samples

    counts = samples.make(kind, out, seed=seed)
    following = [
        command("plan", "tao-finetune-cosmos-reason", "train", "--train", out / "train", "--eval", out / "val")
        + " --set policy.model_name_or_path=builtin://tiny-cosmos-reason"
    ]
    if as_json:
        print_json(document({"folder": str(out), "records": counts}, following=following))
        return
    typer.echo("\t".join([str(out), *(f"{split}={count}" for split, count in counts.items())]))
    print_next(following)


@app.command("fix-video-fps")
def fix_video_fps(
    source: Annotated[Path, typer.Argument(help="Annotation file, which is only read.")],
    target: Annotated[Path, typer.Argument(help="New annotation file with the probed rates.")],
    media: Annotated[
        Path | None, typer.Option("--media", help="Media folder; the annotation's own by default.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a corrected copy of an annotation file: video_fps as its containers say."""
    from tao_skill_bank import video_fps
    from tao_skill_bank.contracts import to_json

    report = video_fps.fix_video_fps(source, target, media)
    if as_json:
        print_json(document({"target": str(target), **to_json(report)}))
    else:
        typer.echo(f"{target}\tfixed={report.fixed}\trecords={report.records}")
