"""data check, data mine, data sample, data convert, data fix-video-fps, data stage, data upload."""

import importlib
import pkgutil
from pathlib import Path
from typing import Annotated, Any

import typer

from tao_skill_bank.cli.data_check_command import check
from tao_skill_bank.cli.data_mine_command import mine
from tao_skill_bank.cli.output import JsonFlag, command, document, print_json, print_next
from tao_skill_bank.errors import MissingExtraError, RequestError, UnknownNameError

app = typer.Typer(no_args_is_help=True)
app.command("check")(check)
app.command("mine")(mine)


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
    """Make small real mp4 clips with annotations, for tutorials and tests; says their sizes and the model for them."""
    from tao_skill_bank.core.findings import size

    counts = {"train": train, "val": val, "test": test}
    samples = _samples(kind)
    samples.make(out, **counts, seed=seed)
    skill, *words = samples.TRY
    following = [command("plan", skill, "train", "--train", out / "train", "--eval", out / "val", *words)]
    num_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if as_json:
        made = {"folder": str(out), "records": counts, "clip": samples.CLIP, "bytes": num_bytes}
        print_json(document({**made, "model": samples.MODEL}, following=following))
        return
    clip = samples.CLIP
    length = f"{clip['frames']} frames at {clip['fps']} fps, {clip['frames'] / clip['fps']:.3g} s"
    typer.echo("\t".join([str(out), *(f"{split}={count}" for split, count in counts.items())]))
    typer.echo(f"clips\t{clip['width']} x {clip['height']} pixels, {length}")
    typer.echo(f"size\t{size(num_bytes)}")
    typer.echo(f"model\t{samples.MODEL}, which is made for this data and needs no GPU and no download")
    print_next(following)


@app.command("convert")
def convert(
    source: Annotated[Path, typer.Argument(help="Annotation file, table or dataset folder, which is only read.")],
    out: Annotated[Path, typer.Argument(help="New folder.")],
    to: Annotated[str, typer.Option("--to", help="llava (records with their media) or clips (captioned clips).")],
    camera: Annotated[str, typer.Option("--camera", help="LeRobot: the video to take, if there are several.")] = "",
    question: Annotated[
        str, typer.Option("--question", help="LeRobot to llava: the question; {task} stands for the task.")
    ] = "",
    answer: Annotated[str, typer.Option("--answer", help='LeRobot to llava: the answer, such as "{task}".')] = "",
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="KEY=NAME: the source's name for a key; repeatable.")
    ] = None,
    conversations: Annotated[
        str, typer.Option("--conversations", help="Key of the turns of a record.")
    ] = "conversations",
    media_root: Annotated[
        Path | None, typer.Option("--media-root", help="Folder or tar archive of the media; the source's by default.")
    ] = None,
    media: Annotated[
        str, typer.Option("--media", help="copy, or link: symbolic links to the source's files.")
    ] = "copy",
    as_json: JsonFlag = False,
) -> None:
    """Convert a dataset into a new folder; whatever has no place there is listed."""
    from tao_skill_bank.cli import next_plan
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.data.convert import converter

    options = _conversion(to, camera, question, answer, columns, conversations, media_root, media)
    done = converter.convert(source, out, options)
    following = next_plan.for_folder(out, to)
    if as_json:
        print_json(document(to_json(done), following=following))
        return
    typer.echo(f"{out}\trecords={done.records}\tmedia={done.media}")
    for left in done.left_out:
        first = f" (first: {left.first})" if left.first else ""
        typer.echo(f"left out: {left.what}: {left.count}{first}", err=True)
    print_next(following)


@app.command("fix-video-fps")
def fix_video_fps(
    source: Annotated[Path, typer.Argument(help="Annotation file, which is only read.")],
    target: Annotated[Path, typer.Argument(help="New annotation file with the probed rates.")],
    media: Annotated[
        Path | None, typer.Option("--media", help="Media folder; the annotation file's folder by default.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a corrected copy of an annotation file, with video_fps from the video containers."""
    from tao_skill_bank.cli import next_plan
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.data import video_fps

    report = video_fps.fix_video_fps(source, target, media)
    following = next_plan.for_annotations(target, media or source.parent)
    if as_json:
        print_json(document(to_json(report), following=following))
    else:
        typer.echo(f"{target}\tfixed={report.fixed}\trecords={report.records}")
        print_next(following)


@app.command("stage")
def stage(
    uri: Annotated[str, typer.Argument(help="File, folder or dataset: s3://, gs:// or hf://datasets/ORG/NAME/PATH.")],
    out: Annotated[Path, typer.Argument(help="New path; becomes a link to the staged data.")],
    annotations: Annotated[
        str | None,
        typer.Option(
            "--annotations", help="Annotation file, local or remote: only the media that it names are staged."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Stage data from an object store on this machine; data that is already here is not downloaded again."""
    from tao_skill_bank.staging import manual

    staged = manual.stage(uri, out.absolute(), annotations, lambda line: typer.echo(line, err=True))
    if as_json:
        print_json(document({"path": str(out), **staged}))
    else:
        typer.echo(f"{out}\tfiles={staged['files']}\tbytes={staged['bytes']}\tdownloaded={staged['downloaded']}")


@app.command("upload")
def upload(job: Annotated[str, typer.Argument(help="Job id.")], as_json: JsonFlag = False) -> None:
    """Upload the missing results of an ended job and report whether the upload is complete."""
    from tao_skill_bank.cli.output import print_problems
    from tao_skill_bank.errors import Problem
    from tao_skill_bank.jobs import remote_results, service

    handle = service.JobHandle(job)
    handle.status()
    manifest = remote_results.upload(handle.record)
    uri = handle.record.results_uri
    problems = []
    if manifest.failed:
        message = f"{len(manifest.failed)} files are missing in {uri}. {manifest.reason}"
        problems = [Problem("upload_incomplete", message, manifest.fix or command("data", "upload", job), path=job)]
    code = 6 if problems else 0
    if as_json:
        payload = {"job_id": job, "results_uri": uri, "state": manifest.state, "files": len(manifest.files)}
        print_json(document(payload, code=code, problems=problems))
    else:
        print_problems(problems)
        typer.echo(f"{uri}\t{manifest.state}\tfiles={len(manifest.files)}")
    raise typer.Exit(code)


def _conversion(
    to: str,
    camera: str,
    question: str,
    answer: str,
    columns: list[str] | None,
    conversations: str,
    media_root: Path | None,
    media: str,
) -> Any:
    """Return the options of a conversion. Raises RequestError for those that are not understood."""
    from tao_skill_bank.data.convert.values import TARGETS, Options

    if to not in TARGETS:
        raise RequestError.of(
            "target_unknown", f"Unknown target '{to}'.", f"Use --to {' or '.join(TARGETS)}.", path="to"
        )
    if media not in ("copy", "link"):
        raise RequestError.of("media_unknown", f"Unknown value '{media}'.", "Use --media copy or link.", path="media")
    pairs = [column.partition("=") for column in columns or ()]
    if wrong := [column for column, (key, _, name) in zip(columns or (), pairs, strict=True) if not (key and name)]:
        message = f"--column {wrong[0]} is not KEY=NAME."
        raise RequestError.of("column_invalid", message, "Write it as --column question=prompt.", path="column")
    names = {key: name for key, _, name in pairs}
    return Options(to, camera, question, answer, names, conversations, media_root, media == "link")


def _samples(kind: str) -> Any:
    """Return the module that makes one kind of sample data, found by its name."""
    places = [str(Path(__file__).parents[1] / "samples")]
    kinds = sorted(module.name for module in pkgutil.iter_modules(places) if not module.name.startswith("_"))
    if kind not in kinds:
        message = f"Unknown sample data '{kind}'."
        raise UnknownNameError.of("unknown_sample", message, f"Use one of: {', '.join(kinds)}.", path="kind", got=kind)
    try:
        return importlib.import_module(f"tao_skill_bank.samples.{kind}")
    except ImportError as error:
        raise MissingExtraError.for_module(error.name or kind, "train") from None
