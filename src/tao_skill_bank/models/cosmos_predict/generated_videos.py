"""Finds the videos to evaluate: generate's results.json, else folders of mp4 files; a folder is a variant."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader, regular_files
from tao_skill_bank.data import media_suffixes, text_files
from tao_skill_bank.data.text_files import EncodingError
from tao_skill_bank.errors import BlockedError, MissingExtraError, Problem, TaoSkillsError, UnknownNameError
from tao_skill_bank.models.cosmos_predict import video_frames

REFERENCE = "reference"
SEED_SUFFIX = re.compile(r"_seed(\d+)$")


@dataclass(frozen=True)
class Video:
    """One video.

    Attributes:
        name: that of the prompt; shared by the videos of all variants and seeds.
        prompt: the instruction, or None if unknown.
        other_views: views of the same scene to compare with; each pair of views is compared once.

    """

    name: str
    variant: str
    seed: int | None
    path: Path
    prompt: str | None
    other_views: tuple[Path, ...] = ()

    def content_hash(self) -> str:
        """Return a hash of the video and its other views."""
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (self.path, *self.other_views)]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def find(generated_dir: str, reference_dir: str | None, view_separator: str) -> list[Video]:
    """Return every video, with the reference clips as a separate variant, ordered by variant (as found) and name.

    Raises:
        UnknownNameError: a folder does not exist.
        BlockedError: there are no videos, results.json is not generate's, or no reference clip has a video's name.

    """
    folder = _folder(generated_dir, "generated_dir")
    listing = folder / "results.json"
    videos = _listed(listing) if listing.is_file() else _in_folders(folder)
    if not videos:
        fix = "Run generate first, or give a folder with mp4 files or with one subfolder of them per variant."
        raise BlockedError.of("no_videos", f"{folder} contains no mp4 files.", fix, path="generated_dir")
    if reference_dir:
        videos += _references(_folder(reference_dir, "reference_dir"), videos)
    return _with_views(videos, view_separator)


def check_readable(videos: Iterable[Video]) -> None:
    """Decode the first frame of every video. Raises BlockedError that names all that cannot be read."""
    problems: list[Problem] = []
    for path in dict.fromkeys(video.path for video in videos):
        try:
            video_frames.count(path)
        except MissingExtraError:
            raise
        except BlockedError as error:
            problems += error.problems
    if problems:
        raise BlockedError(problems)


def _listed(listing: Path) -> list[Video]:
    """Return the videos of generate's results.json. Raises BlockedError for another file, or for missing videos."""
    try:
        entries = json_reader.loads(regular_files.read_bytes(listing))
        videos = [_listed_video(listing.parent, entry) for entry in entries]
    except (ValueError, TypeError, KeyError) as error:
        message = f"{listing} is not a results.json of generate: {type(error).__name__} {error}."
        fix = "Give generate's run directory, or a folder of mp4 files without results.json."
        raise BlockedError.of("bad_results", message, fix, path="generated_dir") from None
    missing = [video.path for video in videos if not video.path.is_file()]
    if missing:
        fix = "Run generate again: it creates only missing videos."
        raise BlockedError(
            [
                Problem("missing_video", f"{path} is in results.json, but not on disk.", fix, str(path))
                for path in missing
            ]
        )
    return videos


def _listed_video(folder: Path, entry: dict[str, Any]) -> Video:
    seed = entry["seed"]
    return Video(
        name=str(entry["name"]),
        variant=str(entry["variant"]),
        seed=None if seed is None else int(seed),
        path=folder / str(entry["output"]),
        prompt=entry.get("prompt") or None,
    )


def _in_folders(folder: Path) -> list[Video]:
    root = folder / "videos" if (folder / "videos").is_dir() else folder
    own = [_unlisted_video(path, root.name) for path in media_suffixes.clips_in(root)]
    subfolders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    subfolders.sort(key=lambda path: path.name != "base")  # the base is first in every table
    return own + [
        _unlisted_video(path, variant.name) for variant in subfolders for path in media_suffixes.clips_in(variant)
    ]


def _unlisted_video(path: Path, variant: str) -> Video:
    seed = SEED_SUFFIX.search(path.stem)
    name = SEED_SUFFIX.sub("", path.stem)
    texts = (path.with_suffix(".txt"), path.with_name(f"{name}.txt"))
    prompt = next((_text(text) for text in texts if text.is_file()), "")
    return Video(name, variant, int(seed.group(1)) if seed else None, path, prompt or None)


def _text(path: Path) -> str:
    try:
        return text_files.read(path).text.strip()
    except (OSError, EncodingError) as error:
        raise BlockedError.of("prompt_unreadable", f"{path}: {error}.", "Save it as UTF-8.", path=str(path)) from None


def _references(folder: Path, generated: Sequence[Video]) -> list[Video]:
    """Return the clips of `folder` (or its subfolder videos/) that have the name of a generated video."""
    if any(video.variant == REFERENCE for video in generated):
        message = f"A variant is called '{REFERENCE}', which is the name of the clips in reference_dir."
        raise BlockedError.of("variant_name", message, "Rename the variant's folder.", path="reference_dir")
    clips = {
        path.stem: path for path in (*media_suffixes.clips_in(folder / "videos"), *media_suffixes.clips_in(folder))
    }
    prompts = {video.name: video.prompt for video in generated}
    found = [Video(name, REFERENCE, None, clips[name], prompts[name]) for name in prompts if name in clips]
    if not found:
        message = f"No mp4 file in {folder} has the name of a generated video, such as '{generated[0].name}'."
        fix = "Name the reference clips NAME.mp4 after the generated videos, or leave reference_dir out."
        raise BlockedError.of("no_reference", message, fix, path="reference_dir")
    return found


def _with_views(videos: Sequence[Video], separator: str) -> list[Video]:
    """Return the videos with `other_views` set to the later views of each scene."""
    scenes: dict[tuple[str, int | None, str], list[Video]] = {}
    for video in videos:
        scene, found, _ = video.name.rpartition(separator)
        if found:
            scenes.setdefault((video.variant, video.seed, scene), []).append(video)
    later: dict[Path, tuple[Path, ...]] = {}
    for views in scenes.values():
        ordered = [video.path for video in sorted(views, key=lambda video: video.name)]
        later |= {path: tuple(ordered[position + 1 :]) for position, path in enumerate(ordered)}
    return [replace(video, other_views=later.get(video.path, ())) for video in videos]


def _folder(name: str, where: str) -> Path:
    folder = Path(name).absolute()
    if not folder.is_dir():
        raise _no_folder(folder, where)
    return folder


def _no_folder(folder: Path, where: str) -> TaoSkillsError:
    message = f"{where} {folder} is not a folder."
    return UnknownNameError.of("no_folder", message, f"Set {where} to a folder of videos.", path=where)
