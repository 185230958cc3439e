"""Folders of captioned clips: captions, every file, lengths, frame rates, and clips that are in two sets."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tao_skill_bank.contracts import Finding, Input, contract
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import MAX_LISTED, blocking, info, listed, not_checked, warning
from tao_skill_bank.data import clip_folders, clip_outcomes, clip_rates, clip_sizes, text_length
from tao_skill_bank.data.clip_folders import CaptionSource, ClipFolder
from tao_skill_bank.data.clip_outcomes import ClipOutcomes
from tao_skill_bank.data.kinds import Context, Kind, Place, options_of
from tao_skill_bank.data.sampled_media import Probed

PLACE_OF_CAPTIONS = {".txt": "text files", ".json": "JSON files"}


@contract
class Options:
    """How the folder is read and what a clip must have.

    Attributes:
        min_frames: frames that a clip needs at least.
        frame_step: by how much `min_frames` may be lowered at a time, where the model takes certain counts only.
        nested: clips may lie anywhere below the folder.
        captions, caption_key: where captions are looked for (clip_folders.read).
        skips_unusable: clips that cannot be used are left out by the action instead of stopping it.
        frames_per_second, rate_key: the rate that clips are taken to have, and the key of the spec that says so; 0
            where it says nothing, and clips are compared with each other.
        frame_size, size_keys: the (height, width) that every frame is resized to, whatever its own, and the keys of the
            spec that say so; empty for none.
        size_multiple: of which heights and widths are multiples.
        keeps_aspect, aspect_key: clips keep their aspect ratio and get about that area, and the key of the spec that,
            set true, says so.
        text_tokens, text_prefix: tokens that the text encoder takes of a caption, 0 for any number, and the text that
            is put before each.

    """

    min_frames: int = 1
    frame_step: int = 1
    nested: bool = False
    captions: CaptionSource = "auto"
    caption_key: str = ""
    skips_unusable: bool = False
    frames_per_second: float = 0
    rate_key: str = ""
    frame_size: tuple[int, ...] = ()
    size_keys: tuple[str, ...] = ()
    size_multiple: int = 1
    keeps_aspect: bool = False
    aspect_key: str = ""
    text_tokens: int = 0
    text_prefix: str = ""


@dataclass(frozen=True)
class SeenClips:
    """What was found of one folder."""

    input: Input
    options: Options
    found: ClipFolder
    clips: ClipOutcomes
    failure: Finding | None = None
    num_media: int = 0
    noun: str = "clips"
    records: Sequence[Probed] = ()

    @property
    def folder(self) -> str:
        return self.input.paths["path"]

    @property
    def num_usable(self) -> int:
        """Clips that can be trained on: captioned, readable and long enough."""
        return sum(self.clips.is_usable(clip.video, self.options.min_frames) for clip in self.found.captioned)

    @property
    def videos(self) -> list[Path]:
        return [clip.video for clip in self.found.clips]


def look(given: Input, context: Context) -> SeenClips:
    """Read a folder and look at every clip in it."""
    options, path = options_of(Options, given), given.paths["path"]
    if locations.is_uri(path):
        message = f"Clips {path} are not on this machine."
        fix = f"To have them checked first: tao-skills data stage {path} FOLDER, then name the folder."
        failure = not_checked("clips_remote", message, fix, path)
        return SeenClips(given, options, ClipFolder(Path(path)), ClipOutcomes(path), failure)
    found = clip_folders.read(Path(path), captions=options.captions, key=options.caption_key, nested=options.nested)
    videos = [clip.video for clip in found.clips]
    outcomes = clip_outcomes.probe(path, videos, context.pool, context.decode_seconds, context.header_budget)
    return SeenClips(given, options, found, outcomes)


def check(seen: Sequence[SeenClips], _: Context) -> list[Finding]:
    """Return the findings on all folders, and on clips that are in a training and an evaluation folder."""
    train_sets = [each for each in seen if each.input.role == "train"]
    eval_sets = [each for each in seen if each.input.role == "eval"]
    return [
        *(finding for each in seen for finding in _check_one(each)),
        *(finding for train in train_sets for held_out in eval_sets for finding in _overlap(train, held_out)),
    ]


def _check_one(seen: SeenClips) -> list[Finding]:
    if seen.failure:
        return [seen.failure]
    path = seen.folder
    found = seen.found.findings
    if not seen.found.clips:
        return found
    found += [*seen.clips.unreadable(), *seen.clips.truncated(), *_too_short(seen), *_variable_rate(seen)]
    if seen.options.skips_unusable and seen.num_usable:
        found = [replace(each, severity="warning") if each.severity == "blocking" else each for each in found]
    found += clip_rates.check(seen.clips, seen.options.frames_per_second, seen.options.rate_key)
    found += clip_sizes.check(seen.clips, _resizing(seen.options))
    found += [*_cut_captions(seen), *seen.clips.left]
    if not (seen.clips.outcomes or seen.clips.left):
        message = f"Clips of {path} were not probed: PyAV is not installed here."
        found.append(not_checked("clips_not_probed", message, "pip install 'tao-skill-bank[train]'", path))
    return [*found, _summary(seen)]


def _too_short(seen: SeenClips) -> list[Finding]:
    options, folder, frames = seen.options, seen.folder, seen.clips.frames
    short = {path: count for path, count in frames.items() if count < options.min_frames}
    if not short:
        return []
    most = _largest_window(options, max(frames.values()) if len(short) == len(frames) else min(short.values()))
    names = listed([f"{seen.clips.name(path)} ({count})" for path, count in short.items()])
    if len(short) == len(frames):
        message = (
            f"{folder}: all {len(short)} clips are shorter than the {options.min_frames} frames that are asked for; "
            f"the longest has {max(frames.values())}: {names}."
        )
        advice = f"Lower the number of frames to {most}, the most that any of these clips has"
    else:
        message = (
            f"{folder}: {len(short)} of {len(frames)} clips are shorter than the {options.min_frames} frames that are "
            f"asked for: {names}."
        )
        advice = f"Drop these clips, or lower the number of frames to {most}, which all of them have"
    fix = f"{advice}." if most else "Drop these clips: they are too short for any number of frames."
    shortest = {seen.clips.name(path): count for path, count in list(short.items())[:MAX_LISTED]}
    return [blocking("clips_too_short", message, fix, folder, frames=shortest, count=len(short), largest=most)]


def _largest_window(options: Options, num_frames: int) -> int:
    """Return the largest number of frames below `min_frames` that the model takes and a clip has; 0 for none."""
    steps = -((num_frames - options.min_frames) // options.frame_step)
    return max(0, options.min_frames - steps * options.frame_step)


def _variable_rate(seen: SeenClips) -> list[Finding]:
    """Block clips whose frames are unevenly spaced: a window of them shows motion that speeds up and slows down."""
    uneven = [path for path, probe in seen.clips.probes.items() if probe.has_variable_rate]
    if not uneven:
        return []
    names = listed([seen.clips.name(path) for path in uneven])
    message = (
        f"{seen.folder}: {len(uneven)} clips have a variable frame rate, so that motion in them speeds up and "
        f"slows down: {names}."
    )
    fix = "Write copies at a constant rate and use those: python -m tao_skill_bank.constant_rate IN.mp4 OUT.mp4"
    return [blocking("clips_variable_rate", message, fix, seen.folder, **seen.clips.evidence(uneven))]


def _resizing(options: Options) -> clip_sizes.Resizing | None:
    if len(options.frame_size) != 2 or len(options.size_keys) != 2:
        return None
    (height, width), (height_key, width_key) = options.frame_size, options.size_keys
    keys = clip_sizes.Keys(height_key, width_key, options.aspect_key)
    return clip_sizes.Resizing(height, width, options.size_multiple, keys, options.keeps_aspect)


def _cut_captions(seen: SeenClips) -> list[Finding]:
    options = seen.options
    texts = [(seen.clips.name(clip.video), options.text_prefix + (clip.caption or "")) for clip in seen.found.captioned]
    return text_length.check(seen.folder, "captions", texts, options.text_tokens)


def _summary(seen: SeenClips) -> Finding:
    folder, role, clips, frames = seen.folder, seen.input.role, seen.found.clips, seen.clips.frames
    sources = Counter(_place(clip.caption_source) for clip in seen.found.captioned)
    evidence = {"clips": len(clips), "usable": seen.num_usable, "captions": dict(sources)}
    message = f"{folder} holds {len(clips)} {role} clips, {seen.num_usable} of them usable"
    if frames:
        fewest, most = min(frames.values()), max(frames.values())
        message += f", of {fewest} frames" if fewest == most else f", of {fewest} to {most} frames"
        evidence |= {"fewest_frames": fewest, "most_frames": most}
    told = ", ".join(f"{count} from {place}" for place, count in sources.items())
    return info("clips", f"{message}; captions: {told or 'none'}.", folder, role=role, **evidence)


def _place(source: str) -> str:
    return PLACE_OF_CAPTIONS.get(Path(source).suffix.lower(), Path(source).name)


def _overlap(train: SeenClips, held_out: SeenClips) -> list[Finding]:
    """Compare two folders by content, and by name: sets that both number their clips from 0 may share names only."""
    same = clip_outcomes.in_both(held_out.videos, train.videos)
    path = held_out.folder
    fix = "Move every clip into one of the two sets only."
    if same:
        names = listed([held_out.clips.name(video) for video in same])
        message = f"{len(same)} clips of {path} are also in {train.folder}: {names}; the scores will flatter the model."
        return [warning("train_eval_overlap", message, fix, path, **held_out.clips.evidence(same))]
    names_in_both = sorted({clip.name for clip in train.found.clips} & {clip.name for clip in held_out.found.clips})
    if not names_in_both:
        return []
    message = (
        f"{len(names_in_both)} clips of {path} have the name of a clip in {train.folder}, with other content: "
        f"{listed(names_in_both)}."
    )
    fix = "If they show the same scene, move each into one of the two sets; else nothing needs to be done."
    return [warning("train_eval_names", message, fix, path, names=names_in_both[:MAX_LISTED], count=len(names_in_both))]


KIND = Kind(
    title="clips",
    options=Options,
    paths={"path": Place("folder")},
    look=look,
    check=check,
    media_folders=("path",),
)
