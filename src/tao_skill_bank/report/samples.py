"""Sample answers of an evaluation with frames of their videos, right and wrong ones mixed."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.core import numbers, plain_text
from tao_skill_bank.data.media import clip_frames, picture
from tao_skill_bank.data.media.clip_index import whole_clip_index
from tao_skill_bank.data.media.content import is_picture
from tao_skill_bank.data.media.refusals import reason_in
from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.report.views import RunView
from tao_skill_bank.runs.run_directory import read_json_file

MAX_SAMPLES = 6
FRAME_HEIGHT_PIXELS = 144
JPEG_QUALITY = 80


@dataclass(frozen=True)
class Answer:
    """What one evaluation answered."""

    run: str
    text: str
    is_right: bool


@dataclass(frozen=True)
class Sample:
    """A question with its truth, the answers of each evaluation, and frames as JPEG data URIs."""

    media: str
    question: str
    truth: str
    answers: tuple[Answer, ...]
    frames: tuple[str, ...]
    no_frames_because: str


def gallery(runs: Sequence[RunView]) -> list[Sample]:
    """Return samples of the last evaluation, with what the earlier ones answered to the same questions."""
    evaluated = [run for run in runs if run.evaluation and run.evaluation.answers]
    if not evaluated:
        return []
    judged = [(run, verdicts(run)) for run in evaluated]
    last, of_last = judged[-1]
    return [_sample(position, last, judged) for position in _chosen(last, of_last)]


def _chosen(run: RunView, are_right: Sequence[bool]) -> list[int]:
    """Return the positions of as many wrong as right answers, cycling through the truths; deterministic."""
    seen: Counter[str] = Counter()
    wrong: list[tuple[int, int]] = []
    right: list[tuple[int, int]] = []
    for position, entry in enumerate(_answers(run)):
        truth = str(entry.get("gt"))
        (right if are_right[position] else wrong).append((seen[truth], position))
        seen[truth] += 1
    num_wrong = min(len(wrong), max(MAX_SAMPLES // 2, MAX_SAMPLES - len(right)))
    chosen = [*sorted(wrong)[:num_wrong], *sorted(right)[: MAX_SAMPLES - num_wrong]]
    return sorted(position for _, position in chosen)


def _sample(position: int, run: RunView, judged: Sequence[tuple[RunView, Sequence[bool]]]) -> Sample:
    entry = _answers(run)[position]
    frames, reason = _frames(run, str(entry.get("video_id") or ""))
    answers = (_answer_to(entry, position, other, are_right) for other, are_right in judged)
    return Sample(
        media=str(entry.get("video_id") or ""),
        question=str(entry.get("question") or ""),
        truth=str(entry.get("gt") or ""),
        answers=tuple(answer for answer in answers if answer is not None),
        frames=frames,
        no_frames_because=reason,
    )


def _answer_to(asked: dict[str, Any], position: int, run: RunView, are_right: Sequence[bool]) -> Answer | None:
    """Return what a run answered to a question: at the same position, or wherever the run has the same question."""
    entries = _answers(run)
    key = (asked.get("video_id"), asked.get("question"))
    order = [position, *range(len(entries))] if position < len(entries) else range(len(entries))
    for index in order:
        if (entries[index].get("video_id"), entries[index].get("question")) == key:
            return Answer(run.title, str(entries[index].get("response") or ""), are_right[index])
    return None


def verdicts(run: RunView) -> list[bool]:
    """Return the evaluator's verdict on each answer where it recorded one, else whether answer and truth agree."""
    first, step = _numbering(run)
    return [_is_right(run, entry, first + step * position) for position, entry in enumerate(_answers(run))]


def _is_right(run: RunView, entry: dict[str, Any], index: int) -> bool:
    if isinstance(entry.get("verdict"), str):
        return bool(entry["verdict"] == "right")
    verdict = read_json_file(run.run.path / "samples" / f"{index}.json")
    is_right = verdict.get("correct") if isinstance(verdict, dict) else None
    if isinstance(is_right, bool) and all(verdict.get(key, value) == value for key, value in entry.items()):
        return is_right  # a file that differs was left by an earlier run
    return _words(entry.get("response")) == _words(entry.get("gt"))


def _numbering(run: RunView) -> tuple[int, int]:
    """Return the first annotation index that a run answered and the stride: 0, 1 unless it is one shard of several.

    The evaluator names samples/<annotation index>.json and shards records as `[shard_id::total_shard]`.
    """
    settings = run.run.plan_document().get("job", {}).get("spec", {}).get("evaluation")
    if not isinstance(settings, dict):
        return 0, 1
    return numbers.count(settings.get("shard_id")) or 0, numbers.count(settings.get("total_shard")) or 1


def _answers(run: RunView) -> tuple[dict[str, Any], ...]:
    return run.evaluation.answers if run.evaluation else ()


def _words(text: Any) -> list[str]:
    return str(text or "").lower().strip(" .!\n\t").split()


# --- frames -------------------------------------------------------------------------------------------------------


def _frames(run: RunView, media: str) -> tuple[tuple[str, ...], str]:
    """Return the first, middle and last frame, or why there are none."""
    path = media_path(run, media)
    if path is None:
        return (), "The media files are not on this machine."
    try:
        return tuple(_data_uri(pixels) for pixels in _pictures(path)), ""
    except MissingExtraError as error:
        return (), f"Frames need '{error.problems[0].path}': {error.problems[0].fix}"
    except BlockedError as error:
        return (), f"The media file cannot be shown: {reason_in(error)}"


def media_path(run: RunView, media: str) -> Path | None:
    """Return the file of a medium as the results of a run name it; None where it is not on this machine."""
    folders = [folder for given in run.inputs for folder in given.media_folders]
    candidates = [Path(folder) / media for folder in folders] or [Path(media)]
    is_path = bool(media) and not plain_text.fault_of_path(media)
    return next((path for path in candidates if is_path and path.is_file()), None)


def _pictures(path: Path) -> list[Any]:
    """Return a picture, or the first, middle and last frame of a clip. Each is decoded from its key frame on."""
    if is_picture(path):
        return [picture.read(path)]
    count = len(whole_clip_index(path))
    return [clip_frames.read(path, [at], seek=True)[at] for at in sorted({0, count // 2, count - 1})]


def _data_uri(pixels: Any) -> str:
    """Return a picture as a small JPEG; tiny clips are enlarged without smoothing."""
    from PIL import Image

    image = Image.fromarray(pixels)
    scale = FRAME_HEIGHT_PIXELS / image.height
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    small = image.resize((max(1, round(image.width * scale)), FRAME_HEIGHT_PIXELS), method)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
