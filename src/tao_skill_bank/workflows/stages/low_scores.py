"""Turns badly scored videos into training targets: the real clips of their prompts, as a folder of captioned clips."""

import shutil
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import contract
from tao_skill_bank.core import locations
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.runs.run_directory import write_whole
from tao_skill_bank.workflows import video_scores
from tao_skill_bank.workflows.stage import Context
from tao_skill_bank.workflows.stages.prompts_of_gaps import verbatim_line

CLIPS, LIST = "clips", "low_scores.jsonl"
OUTPUTS = {
    "clips": "folder of captioned clips, a dataset of a training; null where no prompt has a bad score and a clip",
    "count": "prompts with a bad score",
    "rows": "of them, those with a real clip",
    "mean": "mean score of all videos",
    "list": "JSON lines of name, score and clip",
}


@contract
class Arguments:
    """Scored videos.

    Attributes:
        judged: run directory of the evaluation of the videos.
        clips: folder of real clips, NAME.mp4 for the prompt NAME.
        metric: the score that counts.
        threshold: a score on the wrong side of it is bad.
        higher_is_better: which side is wrong.
        variant: of the videos; null takes all, and the worst of a prompt counts.

    """

    judged: str
    clips: str
    metric: str
    threshold: float
    higher_is_better: bool = True
    variant: str | None = None


def promised(_arguments: Arguments, folder: Path) -> list[Path]:
    """Return the list of bad scores, which may be empty."""
    return [folder / LIST]


def run(arguments: Arguments, context: Context) -> dict[str, Any]:
    """Write the clips. A video without a score is a bad one.

    Raises:
        BlockedError: results or clips cannot be read, there is no such metric or variant, or a prompt is unknown.

    """
    judged, source = locations.absolute(arguments.judged), locations.absolute(arguments.clips)
    scores = [
        score for score in video_scores.of(judged, arguments.metric) if arguments.variant in (None, score.variant)
    ]
    if not scores:
        message = f"{judged} has no video of the variant {arguments.variant}."
        raise BlockedError.of("variant_missing", message, "Name another variant, or none.", path=str(judged))
    bad = {score.name: score.value for score in scores if _is_bad(score.value, arguments)}
    prompts = {str(entry.get("name")): entry.get("prompt") for entry in video_scores.entries(judged)}
    target, lines, rows = context.folder / CLIPS, [], 0
    shutil.rmtree(target, ignore_errors=True)  # of an attempt that was killed
    for name, value in bad.items():
        clip, prompt = source / f"{name}.mp4", prompts.get(name)
        has_clip = clip.is_file() and isinstance(prompt, str)
        lines.append({"name": name, "score": value, "clip": str(clip) if has_clip else None})
        if has_clip:
            _add(target, name, clip, str(prompt))
            rows += 1
    write_whole(context.folder / LIST, "".join(map(verbatim_line, lines)))
    known = [score.value for score in scores if score.value is not None]
    context.say(f"{len(bad)} prompts have a bad {arguments.metric}, {rows} of them a real clip")
    return {
        "clips": str(target) if rows else None,
        "count": len(bad),
        "rows": rows,
        "mean": sum(known) / len(known) if known else None,
        "list": str(context.folder / LIST),
    }


def _is_bad(value: float | None, arguments: Arguments) -> bool:
    if value is None:
        return True
    return value < arguments.threshold if arguments.higher_is_better else value > arguments.threshold


def _add(target: Path, name: str, clip: Path, prompt: str) -> None:
    for folder in ("videos", "metas"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(clip, target / "videos" / f"{name}.mp4")
    (target / "metas" / f"{name}.txt").write_text(prompt, encoding="utf-8")
