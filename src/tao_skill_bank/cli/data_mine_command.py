"""data mine: the clips of a pool that are nearest to failures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tao_skill_bank.cli.output import JsonFlag, document, print_findings, print_json, print_rows

if TYPE_CHECKING:
    from tao_skill_bank.mining.miner import Mining


def mine(
    queries: Annotated[Path, typer.Option("--queries", help="Parquet with the embeddings of the KPI set.")],
    pool: Annotated[Path, typer.Option("--pool", help="Parquet with the embeddings of the pool.")],
    out: Annotated[Path, typer.Option("--out", help="New folder.")],
    gaps: Annotated[
        Path | None,
        typer.Option("--gaps", help="Parquet of the gaps of an evaluation; without it all rows of --queries are."),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option("--pool-annotations", help="Annotation file of a labelled pool.")
    ] = None,
    media: Annotated[
        Path | None, typer.Option("--pool-media", help="Folder of its media; the file's folder by default.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", help="Annotations of a test set whose clips must not be mined; repeatable."),
    ] = None,
    source_key: Annotated[
        str, typer.Option("--source-key", help="Key of a record that says which recording its clip comes from.")
    ] = "",
    log: Annotated[
        Path | None, typer.Option("--log", help="JSON lines of everything that was mined; no clip is mined twice.")
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", help="Clips per query.", min=1)] = 5,
    metric: Annotated[str, typer.Option("--metric", help="cosine, euclidean or manhattan.")] = "cosine",
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Greatest distance; of cosine 0 (alike) to 2.", min=0)
    ] = None,
    per_class: Annotated[int | None, typer.Option("--per-class", help="Records of one class at most.", min=1)] = None,
    same_class: Annotated[
        bool, typer.Option("--same-class", help="Mine only records whose answer is the right answer of the gap.")
    ] = False,
    diversity: Annotated[
        float, typer.Option("--diversity", help="0: the nearest; towards 1: unlike each other.", min=0, max=1)
    ] = 0.0,
    unique: Annotated[
        bool, typer.Option("--unique/--again", help="Whether clips of the log are left out or may be mined again.")
    ] = True,
    frames: Annotated[
        bool, typer.Option("--frames/--no-frames", help="Whether near-duplicates of KPI and test clips are looked for.")
    ] = True,
    as_json: JsonFlag = False,
) -> None:
    """Mine the clips of a pool that are nearest to failures, but none that leaks into a test or was mined before."""
    from tao_skill_bank.core.locations import absolute
    from tao_skill_bank.mining import miner
    from tao_skill_bank.mining.request import Request
    from tao_skill_bank.mining.selection import Rules

    request = Request(
        queries=absolute(queries),
        pool=absolute(pool),
        out=absolute(out),
        gaps=gaps and absolute(gaps),
        annotations=annotations and absolute(annotations),
        media=media and absolute(media),
        against=tuple(map(absolute, against or ())),
        source_key=source_key,
        log=log and absolute(log),
        mines_again=not unique,
        compares_frames=frames,
        metric=metric,  # type: ignore[arg-type]  # refused with the others
        rules=Rules(top_k, threshold, per_class, diversity, same_class),
    )
    mining = miner.mine(request, lambda line: typer.echo(line, err=True))
    if as_json:
        print_json(document(_payload(mining, out), findings=mining.findings))
    else:
        _print(mining, out)


def _payload(mining: "Mining", out: Path) -> dict[str, Any]:
    from tao_skill_bank.mining import outputs

    names = ("counts", "classes", "excluded", "distances", "is_labelled", "mining")
    result = outputs.RECORDS if mining.summary["is_labelled"] else outputs.CLIPS
    files = {"result": str(out / result), "summary": str(out / outputs.SUMMARY)}
    return {**files, "is_reused": mining.is_reused, **{name: mining.summary[name] for name in names}}


def _print(mining: "Mining", out: Path) -> None:
    shown = _payload(mining, out)
    counts = shown["counts"]
    typer.echo(f"{shown['result']}\tclips={counts['clips']}\tqueries={counts['queries']}")
    if mining.is_reused:
        typer.echo("the same mining has written it before", err=True)
    if any(shown["classes"]):
        print_rows(("class", "mined"), list(shown["classes"].items()))
    if shown["excluded"]:
        print_rows(("not mined", "rows"), list(shown["excluded"].items()))
    print_findings(mining.findings)
