"""The clips of a run's results: questions with their answers, or generated videos by prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.data import media_suffixes
from tao_skill_bank.report import samples
from tao_skill_bank.report.views import RunView

PER_PAGE = 24
SHOWN = ("all", "wrong", "right")


@dataclass(frozen=True)
class Clip:
    """An entry of results.json by its index, with its medium as the entry names it.

    Attributes:
        file: of the medium; None where it is not on this machine.
        is_right: the evaluation's verdict; None for a generated video.

    """

    index: int
    name: str
    file: Path | None
    question: str = ""
    response: str = ""
    truth: str = ""
    variant: str = ""
    is_right: bool | None = None

    @property
    def is_picture(self) -> bool:
        return self.file is not None and media_suffixes.is_picture(self.file)


@dataclass(frozen=True)
class Page:
    """Some clips of a run, in rows: a row for each prompt of generated videos, else one row of all.

    Attributes:
        number: of this page, from 1.
        counts: of clips for each of `SHOWN`; without verdicts all of them only.

    """

    rows: tuple[tuple[Clip, ...], ...]
    number: int
    num_pages: int
    counts: dict[str, int]
    is_generated: bool


def page(run: RunView, number: int = 1, shown: str = "all") -> Page:
    """Return a page of a run's clips; a number beyond the last page means the last."""
    clips = clips_of(run)
    is_generated = any(clip.variant for clip in clips)
    groups = _by_prompt(clips) if is_generated else [(clip,) for clip in clips if _fits(clip, shown)]
    num_pages = max(1, -(-len(groups) // PER_PAGE))
    number = min(max(1, number), num_pages)
    visible = groups[(number - 1) * PER_PAGE : number * PER_PAGE]
    rows = visible if is_generated else [tuple(clip for group in visible for clip in group)]
    counts = {name: sum(_fits(clip, name) for clip in clips) for name in (SHOWN[:1] if is_generated else SHOWN)}
    return Page(tuple(rows), number, num_pages, counts, is_generated)


def clips_of(run: RunView) -> list[Clip]:
    """Return the entries of a run's results that name a video or picture; none without results."""
    evaluation = run.evaluation
    if evaluation is None:
        return []
    if evaluation.answers:
        verdicts = samples.verdicts(run)
        return [_answered(run, index, entry, verdicts[index]) for index, entry in enumerate(evaluation.answers)]
    named = ((index, entry) for index, entry in enumerate(evaluation.entries) if isinstance(entry.get("video"), str))
    return [_generated(run, index, entry) for index, entry in named]


def _answered(run: RunView, index: int, entry: dict[str, Any], is_right: bool) -> Clip:
    name, question, response, truth = (str(entry.get(key) or "") for key in ("video_id", "question", "response", "gt"))
    return Clip(index, name, _media_file(samples.media_path(run, name)), question, response, truth, "", is_right)


def _generated(run: RunView, index: int, entry: dict[str, Any]) -> Clip:
    prompt, variant = str(entry.get("prompt") or entry.get("name") or ""), str(entry.get("variant") or "generated")
    return Clip(index, entry["video"], _media_file(samples.media_path(run, entry["video"])), prompt, variant=variant)


def _media_file(path: Path | None) -> Path | None:
    """Return a path that is the file of a video or picture: results may name anything."""
    return path if path is not None and (media_suffixes.is_clip(path) or media_suffixes.is_picture(path)) else None


def _by_prompt(clips: Sequence[Clip]) -> list[tuple[Clip, ...]]:
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.question, []).append(clip)
    return [tuple(group) for group in groups.values()]


def _fits(clip: Clip, shown: str) -> bool:
    return shown == "all" or clip.is_right is (shown == "right")
