"""Turns gaps into inputs of a video generator: of every clip with gaps its first frame and a prompt, each clip once."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import contract
from tao_skill_bank.core import json_reader, locations
from tao_skill_bank.core.limits import MAX_CHARACTERS
from tao_skill_bank.data.media import clip_frames, picture
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.runs.run_directory import verbatim_json, write_whole
from tao_skill_bank.workflows.stage import Context

PROMPTS, INPUTS, IMAGES = "prompts.jsonl", "inputs.jsonl", "images"
OUTPUTS = {
    "prompts": "JSON lines of name, prompt and image: the dataset of a generation",
    "inputs": "JSON lines of id, media_path and the questions of each clip with their right answers",
    "count": "clips",
    "uncaptioned": "clips whose prompt is made of their questions, because they have no caption",
}


@contract
class Arguments:
    """The gaps.

    Attributes:
        gaps: JSON lines of gaps, as the stage `gaps` writes them.
        captions: JSON lines of `video` (a path or its file name) and `caption`; null for none.
        limit: clips at most, in the order of their first gap.

    """

    gaps: str
    captions: str | None = None
    limit: int | None = None


def promised(_arguments: Arguments, folder: Path) -> list[Path]:
    """Return both lists."""
    return [folder / PROMPTS, folder / INPUTS]


def run(arguments: Arguments, context: Context) -> dict[str, Any]:
    """Write the inputs.

    Raises:
        BlockedError: a file cannot be read, or a clip has no first frame.
        MissingExtraError: a library that decodes is not installed.

    """
    captions = _captions(arguments.captions)
    clips: dict[str, list[dict[str, str]]] = {}
    for gap in _lines(locations.absolute(arguments.gaps), ("video_id", "question", "ground_truth")):
        asked = {"question": gap["question"], "ground_truth": gap["ground_truth"]}
        questions = clips.setdefault(gap["video_id"], [])
        if asked not in questions:
            questions.append(asked)
    chosen = list(clips.items())[: arguments.limit]
    (context.folder / IMAGES).mkdir(exist_ok=True)
    prompts, inputs, uncaptioned = [], [], 0
    for video, questions in chosen:
        name = f"gap-{hashlib.sha256(video.encode('utf-8', 'backslashreplace')).hexdigest()[:16]}"
        caption = captions.get(video) or captions.get(Path(video).name)
        uncaptioned += caption is None
        image = _first_frame(Path(video), context.folder / IMAGES / f"{name}.png")
        shown = {"image": f"{IMAGES}/{image.name}"}
        prompts.append({"name": name, "prompt": caption or _of_questions(questions), **shown})
        inputs.append({"id": name, "media_path": video, "questions": questions})
    write_whole(context.folder / PROMPTS, "".join(map(verbatim_line, prompts)))
    write_whole(context.folder / INPUTS, "".join(map(verbatim_line, inputs)))
    context.say(f"{len(prompts)} clips with gaps become prompts, {uncaptioned} of them without a caption")
    places = {"prompts": str(context.folder / PROMPTS), "inputs": str(context.folder / INPUTS)}
    return {**places, "count": len(prompts), "uncaptioned": uncaptioned}


def verbatim_line(document: dict[str, Any]) -> str:
    """Return a document as one line."""
    return json.dumps(json.loads(verbatim_json(document)), ensure_ascii=False) + "\n"


def _lines(path: Path, needed: tuple[str, ...]) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_CHARACTERS), ""), start=1):
                entry = json_reader.loads(line)
                if not isinstance(entry, dict) or any(not isinstance(entry.get(name), str) for name in needed):
                    raise ValueError(f"line {number} lacks {', '.join(needed)}")
                yield entry
    except (OSError, ValueError) as error:
        fix = f"Give JSON lines with {', '.join(needed)}."
        raise BlockedError.of("lines_unreadable", f"{path} cannot be read: {error}", fix, path=str(path)) from None


def _captions(name: str | None) -> dict[str, str]:
    if name is None:
        return {}
    return {entry["video"]: entry["caption"] for entry in _lines(locations.absolute(name), ("video", "caption"))}


def _of_questions(questions: list[dict[str, str]]) -> str:
    """Return a prompt that says what the questions ask for; a caption of the clip is better."""
    said = [f"{' '.join(asked['question'].split())} {asked['ground_truth']}." for asked in questions]
    return f"A clip of the same scene. {' '.join(said)}"


def _first_frame(video: Path, image: Path) -> Path:
    picture.require_pillow()
    from PIL import Image

    pixels = clip_frames.read(video, [0])[0]
    Image.fromarray(pixels).save(image)
    return image
