"""Mines the clips of a pool that are nearest to gaps. A mining that finds nothing is a result, and not a failure."""

from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import contract
from tao_skill_bank.core import locations
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.mining import miner, outputs
from tao_skill_bank.mining.metrics import MetricName
from tao_skill_bank.mining.miner import Mining
from tao_skill_bank.mining.request import Request
from tao_skill_bank.mining.selection import Rules
from tao_skill_bank.runs.run_directory import verbatim_json, write_whole
from tao_skill_bank.workflows import datasets
from tao_skill_bank.workflows.stage import Context

FOLDER, FILE, LOG = "mined", "mining.json", "mined.jsonl"
FOUND_NOTHING = ("nothing_mined", "gaps_missing")
OUTPUTS = {
    "annotations": "the mined records; null where nothing was mined, or the pool has no records",
    "media": "the folder to which their media names are relative; null like they",
    "unlabelled": "JSON lines of the mined clips of a pool without records, for labelling; else null",
    "rows": "mined records, or clips of a pool without records",
    "clips": "mined clips",
    "classes": "mined records of each class",
    "summary": "what was mined and why, with the queries that found each clip; null where nothing was",
    "log": "JSON lines of everything that was mined, by which nothing is mined twice",
    "nothing_because": "why nothing was mined; null where something was",
}


@contract
class Arguments:
    """One mining; see references/mining.md.

    Attributes:
        queries: parquet with the embeddings of the KPI set.
        pool: parquet with the embeddings of the pool.
        gaps: parquet of gaps; every row of `queries` is a query without it.
        annotations: of a labelled pool.
        media: the folder of its media; by default the folder of the annotations.
        against: annotations of test sets whose clips must not be mined; null is none.
        source_key: key of a record that says which recording its clip comes from.
        log: of everything that was mined; by default one for the whole workflow.
        mines_again: clips of the log may be mined again.
        compares_frames: near-duplicates of KPI and test clips are looked for.

    """

    queries: str
    pool: str
    gaps: str | None = None
    annotations: datasets.Named | None = None
    media: str | None = None
    against: tuple[datasets.Named | None, ...] = ()
    source_key: str = ""
    log: str | None = None
    mines_again: bool = False
    compares_frames: bool = True
    metric: MetricName = "cosine"
    top_k: int = 5
    threshold: float | None = None
    per_class: int | None = None
    same_class: bool = False
    diversity: float = 0.0


def promised(_arguments: Arguments, folder: Path) -> list[Path]:
    """Return what the stage gives, as a document."""
    return [folder / FILE]


def run(arguments: Arguments, context: Context) -> dict[str, Any]:
    """Mine into the folder `mined`; after a kill the same mining is completed.

    Raises:
        RequestError: the arguments contradict each other.
        BlockedError: a file cannot be used, or the pool is the KPI set.
        ConflictError: an id was mined before with another clip.
        MissingExtraError: a library is not installed.

    """
    request = _request(arguments, context)
    try:
        given = _outputs(request, miner.mine(request, context.say))
    except BlockedError as error:
        if error.problems[0].code not in FOUND_NOTHING:
            raise
        given = {**dict.fromkeys(OUTPUTS), "rows": 0, "clips": 0, "classes": {}, "log": str(request.log)}
        given["nothing_because"] = error.problems[0].message
        context.say(error.problems[0].message)
    write_whole(context.folder / FILE, verbatim_json(given))
    return given


def _request(given: Arguments, context: Context) -> Request:
    pool = datasets.placed(given.annotations, given.media) if given.annotations else None
    return Request(
        queries=locations.absolute(given.queries),
        pool=locations.absolute(given.pool),
        out=context.folder / FOLDER,
        gaps=_path(given.gaps),
        annotations=pool.annotations if pool else None,
        media=pool.media if pool else _path(given.media),
        against=tuple(datasets.placed(each).annotations for each in given.against if each),
        source_key=given.source_key,
        log=_path(given.log) or context.workflow_folder / LOG,
        mines_again=given.mines_again,
        compares_frames=given.compares_frames,
        metric=given.metric,
        rules=Rules(given.top_k, given.threshold, given.per_class, given.diversity, given.same_class),
    )


def _outputs(request: Request, mining: Mining) -> dict[str, Any]:
    counts, is_labelled = mining.summary["counts"], mining.summary["is_labelled"]
    return {
        "annotations": str(request.out / outputs.RECORDS) if is_labelled else None,
        "media": str(request.media) if is_labelled else None,
        "unlabelled": None if is_labelled else str(request.out / outputs.CLIPS),
        "rows": counts["records"] if is_labelled else counts["clips"],
        "clips": counts["clips"],
        "classes": mining.summary["classes"],
        "summary": str(request.out / outputs.SUMMARY),
        "log": str(request.log),
        "nothing_because": None,
    }


def _path(name: str | None) -> Path | None:
    return locations.absolute(name) if name else None
