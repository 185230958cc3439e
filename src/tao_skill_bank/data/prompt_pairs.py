"""Prompts to generate videos from, each with a first frame, with a clip to continue, or alone.

A folder     NAME.txt holds a prompt; its picture or clip is NAME.png or NAME.mp4 next to it, in images/ or in videos/.
A .jsonl     {"prompt", "name"?, "image"? | "video"?} per line, paths relative to the file.

Every file of a folder is read or named in an issue.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.data import folder_tree, media_suffixes, near_names, text_files
from tao_skill_bank.data.captions import json_captions
from tao_skill_bank.data.issues import Issue, IssueType, as_findings, as_problems
from tao_skill_bank.data.text_files import EncodingError
from tao_skill_bank.errors import Problem

FIELDS = ("prompt", "name", "image", "video")
FOLDERS = (PurePosixPath(), PurePosixPath("images"), PurePosixPath("videos"))
TEXT_SUFFIX = ".txt"
MAX_NAME_BYTES = 200  # file systems allow 255, and results append a suffix
CONVERT = f"Convert them: {media_suffixes.CONVERT_PICTURE}, {media_suffixes.CONVERT_CLIP}"

ISSUE_TYPES = {
    "no_test_pairs": IssueType(
        "no prompts",
        "Give a folder with NAME.txt and NAME.png, or a .jsonl file of {prompt, image}.",
        counted=False,
    ),
    "folders_unreadable": IssueType("folder{s} that cannot be listed", "Give yourself the right to read them."),
    "names_undecodable": IssueType("name{s} that are not UTF-8", "Rename the files."),
    "not_utf8": IssueType(
        "file{s} in an encoding that is not read",
        "Save it as UTF-8; if it is Windows-1252: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT",
    ),
    "prompts_unreadable": IssueType("unreadable file{s} or line{s}", "Write UTF-8, and one JSON object per line."),
    "prompt_media_format": IssueType("image{s} or clip{s} in a format that is not read", CONVERT),
    "prompt_name_differs": IssueType(
        "image{s} or clip{s} in another spelling of a prompt's name",
        "Give both exactly the same name: rename one of the two files.",
    ),
    "prompt_missing": IssueType("image{s} or clip{s} without a prompt", "Write NAME.txt next to them, or remove them."),
    "prompt_empty": IssueType("empty prompt{s}", "Describe what the video should show, or remove them."),
    "image_and_video": IssueType("prompt{s} with more than one image or clip", "Keep one of them per prompt."),
    "prompt_media_missing": IssueType("missing image{s} or clip{s}", "Correct the path, relative to the file."),
    "unsafe_names": IssueType(
        "name{s} that are not valid file names",
        f"Use at most {MAX_NAME_BYTES} bytes, without slashes and control characters, not starting with a dot.",
    ),
    "duplicate_names": IssueType("prompt{s} with a duplicate name", "Give every prompt a unique name."),
    "names_ambiguous": IssueType(
        "prompt{s} whose name another one has, but for case or Unicode form",
        "Rename one of them: on other file systems their results are the same file.",
    ),
    "prompts_in_other_folders": IssueType(
        "prompt{s}, image{s} or clip{s} in folders that are not read",
        "Move them next to the others (images/ and videos/ may hold media), or name their folder instead.",
        severity="warning",
    ),
    "links_skipped": IssueType(
        "linked folder{s} that are not read", "Name the folder itself, or link the files.", severity="warning"
    ),
    "text_assumed": IssueType("text file{s} in another encoding than UTF-8", "", severity="info"),
    "files_not_read": IssueType("other file{s}", "", severity="info"),
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
        """One problem per issue type that blocks; empty when everything is usable."""
        return as_problems(self.issues, ISSUE_TYPES, self.source)

    @property
    def findings(self) -> list[Finding]:
        """One finding per issue type: the problems, what is left out, and what was assumed."""
        return as_findings(self.issues, ISSUE_TYPES, self.source)


def read(source: Path) -> PromptSet:
    """Read a folder of pairs or a .jsonl file. Issues are part of the result, never raised."""
    if source.is_dir():
        found = _Folder(source)
        prompts, issues = found.prompts, found.issues
    elif source.is_file() and source.suffix.lower() == ".jsonl":
        prompts, issues = _read_lines(source)
    else:
        reason = "it is neither a folder nor a .jsonl file" if source.exists() else "it does not exist"
        return PromptSet(source, issues=(Issue("no_test_pairs", "", reason),))
    issues += _name_issues([prompt.name for prompt in prompts])
    if not prompts and all(ISSUE_TYPES[issue.code].severity != "blocking" for issue in issues):
        issues.insert(0, Issue("no_test_pairs", "", "none of its files is a prompt" if issues else "it is empty"))
    return PromptSet(source, tuple(prompts), tuple(issues))


def is_safe_name(name: str) -> bool:
    """Return whether a name can be part of a file name, and stays in its folder."""
    is_short = len(name.encode(errors="replace")) <= MAX_NAME_BYTES
    return is_short and bool(name.strip()) and name[0] != "." and name.isprintable() and not set(name) & set("/\\")


def _name_issues(names: Sequence[str]) -> list[Issue]:
    counts = Counter(names)
    issues = [Issue("duplicate_names", name) for name, count in counts.items() if count > 1]
    issues += [Issue("unsafe_names", repr(name)) for name in counts if not is_safe_name(name)]
    groups = Counter(near_names.normal(name) for name in counts)
    return issues + [Issue("names_ambiguous", name) for name in counts if groups[near_names.normal(name)] > 1]


@dataclass
class _Folder:
    """The prompts of a folder and its issues."""

    folder: Path
    prompts: list[Prompt] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)

    def __post_init__(self) -> None:
        tree = folder_tree.walk(self.folder, lambda path: path in FOLDERS)
        self.issues += [Issue("folders_unreadable", str(path), reason) for path, reason in tree.unlisted]
        self.issues += [Issue("names_undecodable", name) for name in tree.undecodable]
        self.issues += [Issue("links_skipped", str(path)) for path in tree.skipped]
        texts = [file for file in tree.files if _is_text(file) and file.parent == PurePosixPath()]
        media: dict[str, list[PurePosixPath]] = {}
        for file in tree.files:
            if _is_media(file) and file.parent in FOLDERS:
                media.setdefault(file.stem, []).append(file)
        for file in texts:
            self._add(file, media.get(file.stem, []))
        stems = {file.stem for file in texts}
        near = {near_names.normal(stem): stem for stem in stems}
        for stem, files in media.items():
            if stem not in stems:
                self.issues += [_without_prompt(file, near) for file in files]
        read = {*texts, *(file for files in media.values() for file in files)}
        self.issues += [_unread(file) for file in tree.files if file not in read]

    def _add(self, file: PurePosixPath, media: Sequence[PurePosixPath]) -> None:
        try:
            found = text_files.read(self.folder / file)
        except EncodingError as error:
            self.issues.append(Issue("not_utf8", str(file), str(error)))
            return
        except OSError as error:
            self.issues.append(Issue("prompts_unreadable", str(file), error.strerror or type(error).__name__))
            return
        self.issues += [Issue("text_assumed", str(file), found.note)] if found.note else []
        text = found.text.strip()
        unreadable = [each for each in media if not (media_suffixes.is_clip(each) or media_suffixes.is_picture(each))]
        if not text:
            self.issues.append(Issue("prompt_empty", str(file), ", ".join(map(str, media))))
        elif len(media) > 1:
            self.issues.append(Issue("image_and_video", file.stem, ", ".join(map(str, media))))
        elif unreadable:
            self.issues.append(Issue("prompt_media_format", str(unreadable[0]), f"of {file}"))
        else:
            self.prompts.append(_prompt(file.stem, text, self.folder / media[0] if media else None))


def _is_text(file: PurePosixPath) -> bool:
    return file.suffix.lower() == TEXT_SUFFIX


def _is_media(file: PurePosixPath) -> bool:
    kinds = (
        media_suffixes.is_clip,
        media_suffixes.is_picture,
        media_suffixes.is_other_clip,
        media_suffixes.is_other_picture,
    )
    return any(is_kind(file) for is_kind in kinds)


def _without_prompt(file: PurePosixPath, near: dict[str, str]) -> Issue:
    """Return the issue of a picture or clip without a prompt; `near` has the prompts' names by normal form."""
    stem = near.get(near_names.normal(file.stem))
    if stem is None:
        return Issue("prompt_missing", str(file))
    how = near_names.difference(stem, file.stem)
    return Issue("prompt_name_differs", str(file), f"{stem}{TEXT_SUFFIX} differs {how}")


def _unread(file: PurePosixPath) -> Issue:
    return Issue("prompts_in_other_folders" if _is_media(file) or _is_text(file) else "files_not_read", str(file))


def _read_lines(file: Path) -> tuple[list[Prompt], list[Issue]]:
    prompts: list[Prompt] = []
    issues: list[Issue] = []
    try:
        found = text_files.read(file)
    except EncodingError as error:
        return [], [Issue("not_utf8", file.name, str(error))]
    except OSError as error:
        return [], [Issue("prompts_unreadable", file.name, error.strerror or type(error).__name__)]
    issues += [Issue("text_assumed", file.name, found.note)] if found.note else []
    for number, line in enumerate(found.text.split("\n"), start=1):  # a prompt may contain other line separators
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
    if media and not (media_suffixes.is_picture(media) if entry.get("image") else media_suffixes.is_clip(media)):
        return Issue("prompt_media_format", where, names[0])
    name = entry.get("name") or (media.stem if media else f"prompt_{where.removeprefix('line ').zfill(4)}")
    return Prompt(name, text, media if entry.get("image") else None, media if entry.get("video") else None)


def _object(line: str) -> dict[str, Any] | str:
    """Return the JSON object of a line, or why it cannot be used."""
    try:
        entry = json_captions.parse(line)
    except ValueError as error:
        return str(error)
    return _wrong_fields(entry) or entry if isinstance(entry, dict) else "not a JSON object"


def _wrong_fields(entry: dict[str, Any]) -> str:
    unknown = [key for key in entry if key not in FIELDS]
    if unknown:
        return f"unknown {', '.join(unknown)}; expected {', '.join(FIELDS)}"
    wrong = [key for key in entry if entry[key] is not None and not isinstance(entry[key], str)]
    return f"expected a string: {', '.join(wrong)}" if wrong else ""


def _prompt(name: str, text: str, media: Path | None) -> Prompt:
    is_video = media is not None and media_suffixes.is_clip(media)
    return Prompt(name, text, None if is_video else media, media if is_video else None)
