"""Prompts to generate videos from, each with a first frame, with a clip to continue, or alone.

A folder     NAME.txt holds a prompt; NAME.png, .jpg, .jpeg, .webp or .mp4 beside it is its picture or clip.
A .jsonl     {"prompt", "name"?, "image"? | "video"?} per line, paths relative to the file.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.data.faults import Fault, Kind, as_problems
from tao_skill_bank.errors import Problem

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
VIDEO_SUFFIX = ".mp4"
FIELDS = ("prompt", "name", "image", "video")
MAX_NAME_BYTES = 200  # file systems take 255, and results add an ending to the name

KINDS = {
    "no_test_pairs": Kind(
        "no prompts",
        "Give a folder with NAME.txt and NAME.png, or a .jsonl file of {prompt, image}.",
        counted=False,
    ),
    "prompts_unreadable": Kind("file{s} or line{s} that cannot be read", "Write UTF-8, and one JSON object per line."),
    "prompt_missing": Kind("picture{s} or clip{s} without a prompt", "Write NAME.txt beside them, or remove them."),
    "prompt_empty": Kind("empty prompt{s}", "Write what the video is to show, or remove them."),
    "image_and_video": Kind("prompt{s} with more than one picture or clip", "Keep one of them per prompt."),
    "prompt_media_missing": Kind("missing picture{s} or clip{s}", "Correct the path, relative to the file."),
    "unsafe_names": Kind(
        "name{s} that cannot name a file",
        f"Use at most {MAX_NAME_BYTES} bytes, without slashes and control characters, not starting with a dot.",
    ),
    "duplicate_names": Kind("prompt{s} with the name of another one", "Give every prompt a name of its own."),
}


@dataclass(frozen=True)
class Prompt:
    """What one video is generated from; at most one of `image` and `video` is set."""

    name: str
    prompt: str
    image: Path | None = None
    video: Path | None = None


@dataclass(frozen=True)
class PromptSet:
    """The usable prompts of a source in order, and everything that is wrong with it."""

    source: Path
    prompts: tuple[Prompt, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One problem per kind of fault; empty when everything can be used."""
        return as_problems(self.faults, KINDS, self.source)


def read(source: Path) -> PromptSet:
    """Read a folder of pairs or a .jsonl file. Whatever is wrong with it is in the result, never raised."""
    if source.is_dir():
        prompts, faults = _read_folder(source)
    elif source.is_file() and source.suffix == ".jsonl":
        prompts, faults = _read_lines(source)
    else:
        reason = "it is no folder and no .jsonl file" if source.exists() else "it does not exist"
        return PromptSet(source, faults=(Fault("no_test_pairs", "", reason),))
    counts = Counter(prompt.name for prompt in prompts)
    faults += [Fault("duplicate_names", name) for name, count in counts.items() if count > 1]
    faults += [Fault("unsafe_names", repr(name)) for name in counts if not is_safe_name(name)]
    if not prompts and not faults:
        faults = [Fault("no_test_pairs", "", "it holds none")]
    return PromptSet(source, tuple(prompts), tuple(faults))


def is_safe_name(name: str) -> bool:
    """Tell whether a name can be part of a file name, and stays in its folder."""
    is_short = len(name.encode(errors="replace")) <= MAX_NAME_BYTES
    return is_short and bool(name.strip()) and name[0] != "." and name.isprintable() and not set(name) & set("/\\")


def _read_folder(folder: Path) -> tuple[list[Prompt], list[Fault]]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    media: dict[str, list[Path]] = {}
    for file in files:
        if file.suffix.lower() in (*IMAGE_SUFFIXES, VIDEO_SUFFIX):
            media.setdefault(file.stem, []).append(file)
    texts = {file.stem: file for file in files if file.suffix == ".txt"}
    faults = [
        Fault("prompt_missing", file.name) for stem, group in media.items() if stem not in texts for file in group
    ]
    prompts = []
    for stem, file in texts.items():
        try:
            text = file.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError):
            faults.append(Fault("prompts_unreadable", file.name, "it is no UTF-8 text"))
            continue
        group = media.get(stem, [])
        if not text:
            faults.append(Fault("prompt_empty", file.name))
        elif len(group) > 1:
            faults.append(Fault("image_and_video", stem, ", ".join(path.name for path in group)))
        else:
            prompts.append(_prompt(stem, text, group[0] if group else None))
    return prompts, faults


def _read_lines(file: Path) -> tuple[list[Prompt], list[Fault]]:
    prompts: list[Prompt] = []
    faults: list[Fault] = []
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")  # a prompt may hold other line separators
    except (OSError, UnicodeDecodeError):
        return [], [Fault("prompts_unreadable", file.name, "it is no UTF-8 text")]
    for number, line in enumerate(lines, start=1):
        if line.strip():
            outcome = _entry(line, f"line {number}", file.parent)
            if isinstance(outcome, Fault):
                faults.append(outcome)
            else:
                prompts.append(outcome)
    return prompts, faults


def _entry(line: str, where: str, base: Path) -> Prompt | Fault:
    entry = _object(line)
    if isinstance(entry, str):
        return Fault("prompts_unreadable", where, entry)
    text = (entry.get("prompt") or "").strip()
    if not text:
        return Fault("prompt_empty", where)
    names = [entry[key] for key in ("image", "video") if entry.get(key)]
    if len(names) > 1:
        return Fault("image_and_video", where, ", ".join(names))
    media = base / names[0] if names else None
    if media and not media.is_file():
        return Fault("prompt_media_missing", where, names[0])
    name = entry.get("name") or (media.stem if media else f"prompt_{where.removeprefix('line ').zfill(4)}")
    return Prompt(name, text, media if entry.get("image") else None, media if entry.get("video") else None)


def _object(line: str) -> dict[str, Any] | str:
    """Return the JSON object of a line, or why it is none that can be used."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {getattr(error, 'msg', 'nested too deeply')}"
    return _wrong_fields(entry) or entry if isinstance(entry, dict) else "no JSON object"


def _wrong_fields(entry: dict[str, Any]) -> str:
    unknown = [key for key in entry if key not in FIELDS]
    if unknown:
        return f"unknown {', '.join(unknown)}; known are {', '.join(FIELDS)}"
    wrong = [key for key in entry if entry[key] is not None and not isinstance(entry[key], str)]
    return f"{', '.join(wrong)} must be text" if wrong else ""


def _prompt(name: str, text: str, media: Path | None) -> Prompt:
    is_video = media is not None and media.suffix.lower() == VIDEO_SUFFIX
    return Prompt(name, text, None if is_video else media, media if is_video else None)
