"""data sample, data fix-video-fps."""

import importlib
import pkgutil
from pathlib import Path
from typing import Annotated, Any

import typer

from tao_skill_bank.cli.output import JsonFlag, command, document, print_json, print_next
from tao_skill_bank.errors import MissingExtraError, UnknownNameError

app = typer.Typer(no_args_is_help=True)


@app.command("sample")
def sample(
    kind: Annotated[str, typer.Argument(help="Kind of data: vlm (video question answering), robot (captioned clips).")],
    out: Annotated[Path, typer.Argument(help="New folder; gets train, val and test.")],
    train: Annotated[int, typer.Option(help="Training clips.", min=3)] = 600,
    val: Annotated[int, typer.Option(help="Validation clips.", min=3)] = 96,
    test: Annotated[int, typer.Option(help="Test clips.", min=3)] = 96,
    seed: Annotated[int, typer.Option(help="Seed; each split derives its own from it.", min=0)] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Make small real mp4 clips with annotations, for tutorials and tests."""
    counts = {"train": train, "val": val, "test": test}
    samples = _samples(kind)
    samples.make(out, **counts, seed=seed)
    skill, *words = samples.TRY
    following = [command("plan", skill, "train", "--train", out / "train", "--eval", out / "val", *words)]
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
        print_json(document(to_json(report)))
    else:
        typer.echo(f"{target}\tfixed={report.fixed}\trecords={report.records}")


def _samples(kind: str) -> Any:
    """Return the module that makes one kind of sample data, found by its name."""
    places = [str(Path(__file__).parents[1] / "samples")]
    kinds = sorted(module.name for module in pkgutil.iter_modules(places) if not module.name.startswith("_"))
    if kind not in kinds:
        message = f"There is no sample data '{kind}'."
        raise UnknownNameError.of("unknown_sample", message, f"Use one of: {', '.join(kinds)}.", path="kind", got=kind)
    try:
        return importlib.import_module(f"tao_skill_bank.samples.{kind}")
    except ImportError as error:
        raise MissingExtraError.for_module(error.name or kind, "train") from None
