"""Keeps generated videos that a judge finds good enough, as records with the questions that they were generated for."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import contract
from tao_skill_bank.core import json_reader, locations, regular_files
from tao_skill_bank.data.media_probe import probe_header
from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.runs.run_directory import verbatim_json, write_whole
from tao_skill_bank.workflows import video_scores
from tao_skill_bank.workflows.stage import Context, Need
from tao_skill_bank.workflows.stages.prompts_of_gaps import verbatim_line

RECORDS, GENERATED, FAILED = "annotations.json", "generated_videos.jsonl", "failed_videos.jsonl"
OUTPUTS = {
    "annotations": "records of the accepted videos; null where there are none",
    "media": "the folder to which their media names are relative; null likewise",
    "rows": "records",
    "accepted": "videos",
    "rejected": "videos that the judge found too bad, or did not judge",
    "generated": "JSON lines of accepted videos, one per input id",
    "failed": "JSON lines of inputs without an accepted video, one per input id, with the reason",
}


@contract
class Arguments:
    """Generated videos.

    Attributes:
        generation: run directory of the generation.
        inputs: JSON lines of inputs, as the stage `prompts_of_gaps` writes them.
        judged: run directory of an evaluation of the videos; null accepts without a judge, which the report says.
        metric: score of a video in its results.
        threshold: smallest score that is accepted.
        variant: of the videos, such as the name of an adapter; null takes the best judged, or the first.

    """

    generation: str
    inputs: str
    judged: str | None = None
    metric: str = ""
    threshold: float | None = None
    variant: str | None = None


@dataclass(frozen=True)
class _Video:
    name: str
    variant: str
    path: Path
    score: float | None


def promised(_arguments: Arguments, folder: Path) -> list[Path]:
    """Return what became of every input."""
    return [folder / GENERATED, folder / FAILED]


def need(arguments: Arguments) -> Need:
    """Return how many records there are at most."""
    return Need(rows=sum(len(entry["questions"]) for entry in _inputs(locations.absolute(arguments.inputs))))


def run(arguments: Arguments, context: Context) -> dict[str, Any]:
    """Write the records; an input without an accepted video is a row of its own.

    Raises:
        RequestError: a judge is named without metric and threshold.
        BlockedError: a file cannot be read, or has no such metric.
        MissingExtraError: the library that reads videos is not installed.

    """
    if arguments.judged is not None and not (arguments.metric and arguments.threshold is not None):
        message = "Judged videos need the metric that counts and the smallest score that is accepted."
        raise RequestError.of("threshold_missing", message, "Give metric and threshold.", path="threshold")
    root = locations.absolute(arguments.generation)
    videos = list(_videos(arguments, root))
    records: list[dict[str, Any]] = []
    generated, failed, rejected = [], [], 0
    for entry in _inputs(locations.absolute(arguments.inputs)):
        own = [video for video in videos if video.name == entry["id"]]
        best = max(own, key=lambda video: -1.0 if video.score is None else video.score, default=None)
        reason = _refusal(best, arguments)
        if best is None or reason:
            rejected += len(own)
            failed.append({"id": entry["id"], "media_path": entry["media_path"], "reason": reason})
            continue
        made = list(_records(entry, best, root))
        records += made
        row = {"id": entry["id"], "media_path": entry["media_path"], "video": str(best.path), "variant": best.variant}
        generated.append({**row, "score": best.score, "records": [record["id"] for record in made]})
    write_whole(context.folder / GENERATED, "".join(map(verbatim_line, generated)))
    write_whole(context.folder / FAILED, "".join(map(verbatim_line, failed)))
    if records:
        write_whole(context.folder / RECORDS, verbatim_json(records))
    context.say(f"{len(generated)} of {len(generated) + len(failed)} inputs have an accepted video")
    return {
        "annotations": str(context.folder / RECORDS) if records else None,
        "media": str(root) if records else None,
        "rows": len(records),
        "accepted": len(generated),
        "rejected": rejected,
        "generated": str(context.folder / GENERATED),
        "failed": str(context.folder / FAILED),
    }


def _refusal(video: _Video | None, arguments: Arguments) -> str:
    """Return why a video is not accepted; empty where it is."""
    if video is None:
        return "no video was generated"
    if arguments.judged is None:
        return ""
    if video.score is None:
        return f"the judge gave no {arguments.metric}"
    is_low = video.score < float(arguments.threshold or 0.0)
    return f"{arguments.metric} is {video.score:.3g}, below {arguments.threshold}" if is_low else ""


def _records(entry: Mapping[str, Any], video: _Video, root: Path) -> Iterator[dict[str, Any]]:
    """Yield a record for each question of the clip that the video was generated for, with the video's own rate."""
    rate = probe_header(video.path, "video").container_fps
    for number, asked in enumerate(entry["questions"], start=1):
        question = f"<video>\n{asked['question'].replace('<video>', ' ').strip()}"
        yield {
            "id": f"{video.name}-{video.variant}-{number}",
            "video": os.path.relpath(video.path, root),
            "video_fps": rate,
            "conversations": [
                {"from": "human", "value": question},
                {"from": "gpt", "value": asked["ground_truth"]},
            ],
            "generated_for": entry["media_path"],
        }


def _videos(arguments: Arguments, root: Path) -> Iterator[_Video]:
    scores = _scores(arguments)
    for entry in video_scores.entries(root):
        name, variant = str(entry.get("name")), str(entry.get("variant"))
        path = root / str(entry.get("output"))
        if arguments.variant in (None, variant) and path.is_file():
            yield _Video(name, variant, path, scores.get((name, variant, entry.get("seed"))))


def _scores(arguments: Arguments) -> dict[tuple[str, str, Any], float | None]:
    if arguments.judged is None:
        return {}
    found = video_scores.of(locations.absolute(arguments.judged), arguments.metric)
    return {(score.name, score.variant, score.seed): score.value for score in found}


def _inputs(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [json_reader.loads(line) for line in regular_files.read_bytes(path).splitlines() if line.strip()]
        if any(not isinstance(line, dict) or not {"id", "media_path", "questions"} <= line.keys() for line in lines):
            raise ValueError("a line lacks id, media_path or questions")
    except (OSError, ValueError) as error:
        fix = "Give the inputs that the stage prompts_of_gaps wrote."
        raise BlockedError.of("lines_unreadable", f"{path} cannot be read: {error}", fix, path=str(path)) from None
    return lines
