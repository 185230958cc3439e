"""Labelled clips: ROOT/<class name>/*.mp4, one folder per class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tao_skill_bank.contracts import Finding, Input, contract
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import MAX_LISTED, blocking, info, listed, not_checked, warning
from tao_skill_bank.data import clip_outcomes
from tao_skill_bank.data.clip_outcomes import ClipOutcomes
from tao_skill_bank.data.kinds import Context, Kind, Place, options_of
from tao_skill_bank.data.sampled_media import Probed

VIDEO_SUFFIX = ".mp4"
NOT_PROBED = ClipOutcomes("")
LAYOUT = f"Arrange the clips as ROOT/CLASS/NAME{VIDEO_SUFFIX}, one folder per class."


@contract
class Options:
    """What the clips must be.

    Attributes:
        min_clips: usable clips that every class needs at least.
        min_frames: frames that a clip needs at least.

    """

    min_clips: int = 1
    min_frames: int = 1


@dataclass(frozen=True)
class SeenClasses:
    """The clips of every class, and those that lie in no class."""

    input: Input
    options: Options
    failure: Finding | None = None
    classes: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    loose: Sequence[Path] = ()
    clips: ClipOutcomes = NOT_PROBED
    num_media: int = 0
    noun: str = "clips"
    records: Sequence[Probed] = ()

    @property
    def folder(self) -> str:
        return self.input.paths["path"]

    @property
    def videos(self) -> list[Path]:
        return [video for videos in self.classes.values() for video in videos]

    @property
    def usable(self) -> dict[str, int]:
        """The number of clips of every class that can be read and are long enough."""
        return {
            name: sum(self.clips.is_usable(video, self.options.min_frames) for video in videos)
            for name, videos in self.classes.items()
        }

    @property
    def num_usable(self) -> int:
        return sum(self.usable.values())


def read(root: Path) -> dict[str, list[Path]]:
    """Return the clips of every class, by its folder's name; what preflight looks at is what a trainer learns from."""
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    return {folder.name: _clips(folder) for folder in folders}


def look(given: Input, context: Context) -> SeenClasses:
    """List the classes and look at every clip."""
    options, path = options_of(Options, given), given.paths["path"]
    root = Path(path)
    if locations.is_uri(path):
        message = f"Class folders {path} are not on this machine."
        fix = f"To have them checked first: tao-skills data stage {path} FOLDER, then name the folder."
        return SeenClasses(given, options, not_checked("class_folders_remote", message, fix, path))
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        message = f"The folder of classes {path} {what}."
        return SeenClasses(given, options, blocking("class_folders_missing", message, f"Name a folder. {LAYOUT}", path))
    classes = read(root)
    if not classes:
        message = f"{path} holds no class folders."
        return SeenClasses(given, options, blocking("class_folders_missing", message, LAYOUT, path))
    videos = [video for found in classes.values() for video in found]
    outcomes = clip_outcomes.probe(path, videos, context.pool, context.decode_seconds, context.header_budget)
    return SeenClasses(given, options, classes=classes, loose=_clips(root), clips=outcomes)


def check(seen: Sequence[SeenClasses], _: Context) -> list[Finding]:
    """Return the findings of every root, and what the evaluation shares with the training and lacks of it."""
    train_sets = [each for each in seen if each.input.role == "train" and not each.failure]
    eval_sets = [each for each in seen if each.input.role == "eval" and not each.failure]
    pairs = [(train, held_out) for train in train_sets for held_out in eval_sets]
    return [
        *(finding for each in seen for finding in _check_one(each)),
        *(finding for train, held_out in pairs for finding in (*_unknown(train, held_out), *_overlap(train, held_out))),
    ]


def _check_one(seen: SeenClasses) -> list[Finding]:
    if seen.failure:
        return [seen.failure]
    path = seen.folder
    found = [*_alike(seen), *_empty(seen), *seen.clips.unreadable(), *seen.clips.truncated(), *_short(seen)]
    found += [*_few(seen), *seen.clips.left]
    if seen.loose:
        message = f"{path}: {len(seen.loose)} clips lie in no class folder: {_names(seen, seen.loose)}."
        found.append(warning("clips_without_class", message, LAYOUT, path, **seen.clips.evidence(seen.loose)))
    if seen.videos and not (seen.clips.outcomes or seen.clips.left):
        message = f"Clips of {path} were not probed: PyAV is not installed here."
        found.append(not_checked("clips_not_probed", message, "pip install 'tao-skill-bank[train]'", path))
    counts = {name: len(videos) for name, videos in seen.classes.items()}
    message = f"{path} holds {len(seen.videos)} {seen.input.role} clips of {len(counts)} classes"
    message += f", {seen.num_usable} of them usable."
    return [*found, info("class_folders", message, path, role=seen.input.role, classes=counts, usable=seen.num_usable)]


def _alike(seen: SeenClasses) -> list[Finding]:
    """Block class names that differ in case only: one folder on some file systems, and one word for people."""
    by_name: dict[str, list[str]] = {}
    for name in seen.classes:
        by_name.setdefault(name.casefold(), []).append(name)
    alike = [names for names in by_name.values() if len(names) > 1]
    if not alike:
        return []
    message = f"{seen.folder}: class names differ in case only: {listed([' and '.join(names) for names in alike])}."
    return [blocking("class_names_alike", message, "Merge the folders, or rename them.", seen.folder, classes=alike)]


def _empty(seen: SeenClasses) -> list[Finding]:
    empty = [name for name, videos in seen.classes.items() if not videos]
    if not empty:
        return []
    message = f"{seen.folder}: {len(empty)} classes have no {VIDEO_SUFFIX} clips: {listed(empty)}."
    fix = "Add clips, or remove the folders."
    return [blocking("class_empty", message, fix, seen.folder, classes=empty[:MAX_LISTED], count=len(empty))]


def _few(seen: SeenClasses) -> list[Finding]:
    needed = seen.options.min_clips
    few = {name: count for name, count in seen.usable.items() if count < needed and seen.classes[name]}
    if not few:
        return []
    shown = listed([f"{name} ({count})" for name, count in few.items()])
    message = f"{seen.folder}: {len(few)} classes have fewer than {needed} usable clips: {shown}."
    fix = "Add clips to them, or remove the folders."
    return [blocking("class_too_small", message, fix, seen.folder, classes=few, needed=needed)]


def _short(seen: SeenClasses) -> list[Finding]:
    needed = seen.options.min_frames
    short = {path: count for path, count in seen.clips.frames.items() if count < needed}
    if not short:
        return []
    shown = listed([f"{seen.clips.name(path)} ({count})" for path, count in short.items()])
    message = f"{seen.folder}: {len(short)} clips have fewer than the {needed} frames that are asked for: {shown}."
    fix = "Drop them, or lower the number of frames."
    return [blocking("clips_too_short", message, fix, seen.folder, **seen.clips.evidence(list(short)))]


def _unknown(train: SeenClasses, held_out: SeenClasses) -> list[Finding]:
    unknown = [name for name in held_out.classes if name not in train.classes]
    if not unknown:
        return []
    message = f"{held_out.folder} has classes that {train.folder} has not: {listed(unknown)}."
    fix = "Correct the names of the folders, or add training clips of these classes."
    return [blocking("classes_unknown", message, fix, held_out.folder, classes=unknown[:MAX_LISTED])]


def _overlap(train: SeenClasses, held_out: SeenClasses) -> list[Finding]:
    same = clip_outcomes.in_both(held_out.videos, train.videos)
    if not same:
        return []
    path, names = held_out.folder, _names(held_out, same)
    message = f"{len(same)} clips of {path} are also in {train.folder}: {names}; the scores will flatter the model."
    fix = "Move every clip into one of the two sets only."
    return [warning("train_eval_overlap", message, fix, path, **held_out.clips.evidence(same))]


def _names(seen: SeenClasses, videos: Sequence[Path]) -> str:
    return listed([seen.clips.name(video) for video in videos])


def _clips(folder: Path) -> list[Path]:
    files = (file for file in folder.iterdir() if file.suffix.lower() == VIDEO_SUFFIX and not file.is_dir())
    return sorted(file for file in files if not file.name.startswith("."))


KIND = Kind(
    title="clips",
    options=Options,
    paths={"path": Place("folder")},
    look=look,
    check=check,
    media_folders=("path",),
)
