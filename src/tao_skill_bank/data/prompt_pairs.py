"""Prompts to generate videos from, each with a first frame, with a clip to continue, or alone.

A folder     NAME.txt holds a prompt; NAME.png, .jpg, .jpeg, .webp or .mp4 next to it is its image or clip.
A .jsonl     {"prompt", "name"?, "image"? | "video"?} per line, paths relative to the file.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.data.issues import Issue, IssueType, as_problems
from tao_skill_bank.errors import Problem

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
VIDEO_SUFFIX = ".mp4"
FIELDS = ("prompt", "name", "image", "video")
MAX_NAME_BYTES = 200  # file systems allow 255, and results append a suffix

ISSUE_TYPES = {
    "no_test_pairs": IssueType(
        "no prompts",
        "Give a folder with NAME.txt and NAME.png, or a .jsonl file of {prompt, image}.",
        counted=False,
    ),
    "prompts_unreadable": IssueType("unreadable file{s} or line{s}", "Write UTF-8, and one JSON object per line."),
    "prompt_missing": IssueType("image{s} or clip{s} without a prompt", "Write NAME.txt next to them, or remove them."),
    "prompt_empty": IssueType("empty prompt{s}", "Describe what the video should show, or remove them."),
    "image_and_video": IssueType("prompt{s} with more than one image or clip", "Keep one of them per prompt."),
    "prompt_media_missing": IssueType("missing image{s} or clip{s}", "Correct the path, relative to the file."),
    "unsafe_names": IssueType(
        "name{s} that are not valid file names",
        f"Use at most {MAX_NAME_BYTES} bytes, without slashes and control characters, not starting with a dot.",
    ),
    "duplicate_names": IssueType("prompt{s} with a duplicate name", "Give every prompt a unique name."),
}


@dataclass(frozen=True)
class Prompt:
    """The inputs of one generated video; at most one of `image` and `video` is set."""

    name: str
    prompt: str
    image: Path | None = None
    video: Path | None = None


@dataclass(frozen=True)
class PromptSet:
    """The usable prompts of a source in order, and its issues."""

    source: Path
    prompts: tuple[Prompt, ...] = ()
    issues: tuple[Issue, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One problem per issue type; empty when everything is usable."""
        return as_problems(self.issues, ISSUE_TYPES, self.source)


def read(source: Path) -> PromptSet:
    """Read a folder of pairs or a .jsonl file. Issues are part of the result, never raised."""
    if source.is_dir():
        prompts, issues = _read_folder(source)
    elif source.is_file() and source.suffix == ".jsonl":
        prompts, issues = _read_lines(source)
    else:
        reason = "it is neither a folder nor a .jsonl file" if source.exists() else "it does not exist"
        return PromptSet(source, issues=(Issue("no_test_pairs", "", reason),))
    counts = Counter(prompt.name for prompt in prompts)
    issues += [Issue("duplicate_names", name) for name, count in counts.items() if count > 1]
    issues += [Issue("unsafe_names", repr(name)) for name in counts if not is_safe_name(name)]
    if not prompts and not issues:
        issues = [Issue("no_test_pairs", "", "it is empty")]
    return PromptSet(source, tuple(prompts), tuple(issues))


def is_safe_name(name: str) -> bool:
    """Return whether a name can be part of a file name, and stays in its folder."""
    is_short = len(name.encode(errors="replace")) <= MAX_NAME_BYTES
    return is_short and bool(name.strip()) and name[0] != "." and name.isprintable() and not set(name) & set("/\\")


def _read_folder(folder: Path) -> tuple[list[Prompt], list[Issue]]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    media: dict[str, list[Path]] = {}
    for file in files:
        if file.suffix.lower() in (*IMAGE_SUFFIXES, VIDEO_SUFFIX):
            media.setdefault(file.stem, []).append(file)
    texts = {file.stem: file for file in files if file.suffix == ".txt"}
    issues = [
        Issue("prompt_missing", file.name) for stem, group in media.items() if stem not in texts for file in group
    ]
    prompts = []
    for stem, file in texts.items():
        try:
            text = file.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError):
            issues.append(Issue("prompts_unreadable", file.name, "it is not UTF-8"))
            continue
        group = media.get(stem, [])
        if not text:
            issues.append(Issue("prompt_empty", file.name))
        elif len(group) > 1:
            issues.append(Issue("image_and_video", stem, ", ".join(path.name for path in group)))
        else:
            prompts.append(_prompt(stem, text, group[0] if group else None))
    return prompts, issues


def _read_lines(file: Path) -> tuple[list[Prompt], list[Issue]]:
    prompts: list[Prompt] = []
    issues: list[Issue] = []
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")  # a prompt may contain other line separators
    except (OSError, UnicodeDecodeError):
        return [], [Issue("prompts_unreadable", file.name, "it is not UTF-8")]
    for number, line in enumerate(lines, start=1):
        if line.strip():
            outcome = _entry(line, f"line {number}", file.parent)
            if isinstance(outcome, Issue):
                issues.append(outcome)
            else:
                prompts.append(outcome)
    return prompts, issues


def _entry(line: str, where: str, base: Path) -> Prompt | Issue:
    entry = _object(line)
    if isinstance(entry, str):
        return Issue("prompts_unreadable", where, entry)
    text = (entry.get("prompt") or "").strip()
    if not text:
        return Issue("prompt_empty", where)
    names = [entry[key] for key in ("image", "video") if entry.get(key)]
    if len(names) > 1:
        return Issue("image_and_video", where, ", ".join(names))
    media = base / names[0] if names else None
    if media and not media.is_file():
        return Issue("prompt_media_missing", where, names[0])
    name = entry.get("name") or (media.stem if media else f"prompt_{where.removeprefix('line ').zfill(4)}")
    return Prompt(name, text, media if entry.get("image") else None, media if entry.get("video") else None)


def _object(line: str) -> dict[str, Any] | str:
    """Return the JSON object of a line, or why it cannot be used."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"invalid JSON: {getattr(error, 'msg', 'nested too deeply')}"
    return _wrong_fields(entry) or entry if isinstance(entry, dict) else "not a JSON object"


def _wrong_fields(entry: dict[str, Any]) -> str:
    unknown = [key for key in entry if key not in FIELDS]
    if unknown:
        return f"unknown {', '.join(unknown)}; expected {', '.join(FIELDS)}"
    wrong = [key for key in entry if entry[key] is not None and not isinstance(entry[key], str)]
    return f"expected a string: {', '.join(wrong)}" if wrong else ""


def _prompt(name: str, text: str, media: Path | None) -> Prompt:
    is_video = media is not None and media.suffix.lower() == VIDEO_SUFFIX
    return Prompt(name, text, None if is_video else media, media if is_video else None)
