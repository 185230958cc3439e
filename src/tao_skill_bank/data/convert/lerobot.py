"""What both layouts of LeRobot datasets share: info.json, cameras, splits, tasks and their checks."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.core import numbers
from tao_skill_bank.core.limits import MAX_CHARACTERS, TOO_LONG
from tao_skill_bank.data.convert import safe_paths
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import Episode, Options
from tao_skill_bank.data.json_stream import whole
from tao_skill_bank.data.records.rates import rate_of
from tao_skill_bank.data.records.reader import is_text
from tao_skill_bank.errors import BlockedError

INFO = Path("meta", "info.json")
PLACEHOLDER = re.compile(r"\{(\w{1,40})(?::0?([0-9]{1,2})d)?\}")
RANGE = re.compile(r"([0-9]{1,12}):([0-9]{1,12})")
MOST = 10**9
KNOWN_KEYS = frozenset({"codebase_version", "fps", "features", "splits", "chunks_size", "video_path", "data_path"})
SIZES = ("total_", "_size_in_mb")  # parts of keys that describe the files
OWN_FEATURES = ("timestamp", "frame_index", "episode_index", "index", "task_index")  # what places a frame
SEVERAL = "; "


@dataclass(frozen=True)
class Info:
    """What info.json says.

    Attributes:
        version: of the layout, such as v2.1.
        rate: frames per second.
        cameras: the features that are videos.
        features: all features.
        video_path: the template of the paths of videos.
        chunks_size: episodes per folder, in layout 2.
        num_episodes: as it says; None where it does not.
        splits: the ranges of episodes by name.
        unread: the other keys.

    """

    version: str
    rate: float
    cameras: tuple[str, ...]
    features: Mapping[str, Any]
    video_path: str
    chunks_size: int
    num_episodes: int | None
    splits: Mapping[str, range]
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One episode as its table has it; `video` is relative to the dataset."""

    index: Any
    length: Any
    tasks: Any
    video: str
    start: Any = None
    end: Any = None


def version_of(root: Path) -> str:
    """Return the layout's version; empty for what is not a LeRobot dataset."""
    try:
        value = _document(root / INFO)
    except (OSError, ValueError):
        return ""
    version = value.get("codebase_version") if isinstance(value, dict) else None
    return version if isinstance(version, str) else ""


def read_info(root: Path, default_path: str) -> Info:
    """Return what info.json says. Raises BlockedError for what cannot be used."""
    path = root / INFO
    value = _document(path)
    rate = rate_of(value.get("fps"))
    features = value.get("features")
    size = value.get("chunks_size", 1000)
    if rate is None or not isinstance(features, dict) or whole_number(size) in (None, 0):
        raise invalid(path, "needs fps, features and chunks_size")
    cameras = tuple(name for name, each in features.items() if isinstance(each, dict) and each.get("dtype") == "video")
    template = value.get("video_path") or default_path
    if not isinstance(template, str):
        raise invalid(path, "has a video_path that is not text")
    total = whole_number(value.get("total_episodes"))
    splits = _splits(path, value.get("splits"))
    unread = tuple(key for key in value if key not in KNOWN_KEYS and not any(part in key for part in SIZES))
    return Info(value["codebase_version"], rate, cameras, features, template, size, total, splits, unread)


def camera_of(root: Path, info: Info, camera: str) -> str:
    """Return the camera that the user names, or the only one. Raises BlockedError that lists them."""
    names = ", ".join(info.cameras)
    if not info.cameras:
        message = f"{root} has no camera that is stored as video."
        fix = "Write the dataset again with its pictures as videos (use_videos=True)."
        raise BlockedError.of("camera_missing", message, fix, path=str(root / INFO))
    if camera and camera not in info.cameras:
        message = f"{root} has no camera {camera!r}; it has: {names}."
        raise BlockedError.of("camera_unknown", message, f"Use one of: {names}.", path=str(root / INFO), got=camera)
    if not camera and len(info.cameras) > 1:
        message = f"{root} has {len(info.cameras)} cameras: {names}."
        fix = f"Choose one: --camera {info.cameras[0]}."
        raise BlockedError.of("camera_ambiguous", message, fix, path=str(root / INFO))
    return camera or info.cameras[0]


def fill(template: str, values: Mapping[str, Any], named_in: str) -> str:
    """Return a path for a template such as `videos/chunk-{chunk_index:03d}/file.mp4`. Raises BlockedError."""

    def value_of(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if value is None:
            message = f"{named_in} has a path with {match[0]}, which is not known."
            raise BlockedError.of("dataset_invalid", message, f"Use: {', '.join(values)}.", path=named_in)
        return str(value).zfill(int(match[2] or 0))

    return PLACEHOLDER.sub(value_of, template)


def whole_number(value: Any) -> int | None:
    """Return a number that can count; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST else None


def note_unread(row: Mapping[str, Any], read: Collection[str], table: str, notes: Notes) -> None:
    """Note the fields of an episode that have no place."""
    for key, value in row.items():
        if key not in read and value is not None:
            notes.leave_out(f"key {key} of {table}")


def invalid(path: Path, what: str) -> BlockedError:
    """Return the error of a file that does not say what it must."""
    return BlockedError.of("dataset_invalid", f"{path} {what}.", "Write or download the dataset again.", path=str(path))


def episodes(
    root: Path, info: Info, rows: Iterable[Row], tasks: Mapping[int, str], options: Options, notes: Notes
) -> Iterator[Episode]:
    """Yield the usable episodes of a dataset; whatever is wrong with others is noted, and so is what has no place."""
    camera = camera_of(root, info, options.camera)
    seen: set[int] = set()
    for path in (root / INFO, *filter(_is_table, (root / "meta").rglob("*"))):
        notes.use(path)
    num_frames = 0
    for row in rows:
        episode = _episode(root, info, row, tasks, notes)
        index = whole_number(row.index)
        if index is not None and index in seen:
            notes.problem("episode_twice", f"{root} lists episode {index} twice.", "Drop one of the two.", str(root))
        elif index is not None:
            seen.add(index)
        if episode:
            num_frames += episode.num_frames
            notes.use(episode.video)
            yield episode
    _check_number(root, info, len(seen), notes)
    _note_features(info, camera, num_frames, len(seen), notes)


def _episode(root: Path, info: Info, row: Row, tasks: Mapping[int, str], notes: Notes) -> Episode | None:
    index, length = whole_number(row.index), whole_number(row.length)
    name = f"episode_{index:06d}" if index is not None else f"Episode {str(row.index)[:80]!r}"
    faults = list(_faults(info, row, index, length))
    caption = _caption(row.tasks, tasks)
    if not caption or not is_text(caption) or len(caption) > MAX_CHARACTERS:
        faults.append(f"has no usable task ({TOO_LONG})" if len(caption) > MAX_CHARACTERS else "has no task in text")
    video = safe_paths.inside(root, row.video, str(root / INFO))
    if not video.is_file():
        message = f"{name} of {root} has no video: {row.video} is missing."
        notes.problem("episode_video_missing", message, "Download the missing chunks.", str(video))
    found = [each for each, indices in info.splits.items() if index is not None and index in indices]
    if info.splits and len(found) != 1:
        faults.append(f"is in {len(found)} of the splits {', '.join(info.splits)}")
    for fault in faults:
        fix = "Correct the dataset's tables, or write the dataset again."
        notes.problem("episode_invalid", f"{name} of {root} {fault}.", fix, str(root))
    if faults or length is None or not video.is_file():
        return None
    if len(row.tasks) > 1:
        notes.leave_out(
            f"when each of several tasks of an episode is done (they are joined with {SEVERAL!r})", first=name
        )
    split = found[0] if len(info.splits) > 1 else ""
    return Episode(name, video, row.start, row.end, info.rate, length, caption, split)


def _faults(info: Info, row: Row, index: int | None, length: int | None) -> Iterator[str]:
    if index is None:
        yield "has no valid episode_index"
    if not length:
        yield "has no valid length"
    if row.start is None and row.end is None:
        return
    start, end = numbers.finite(row.start), numbers.finite(row.end)
    if start is None or end is None or not 0 <= start < end < MOST:
        yield f"lies between {row.start} and {row.end} seconds of its video"
    elif length and round((end - start) * info.rate) != length:
        frames = round((end - start) * info.rate)
        yield f"has {length} frames, and lies between {start:g} and {end:g} seconds, which are {frames} frames"


def _caption(value: Any, tasks: Mapping[int, str]) -> str:
    """Return the tasks of an episode, given as texts or by their numbers."""
    values = value if isinstance(value, list) else []
    texts = [tasks.get(each, "") if whole_number(each) is not None else each for each in values]
    is_text_only = all(isinstance(text, str) and text.strip() for text in texts)
    return SEVERAL.join(text.strip() for text in texts) if is_text_only else ""


def _check_number(root: Path, info: Info, count: int, notes: Notes) -> None:
    if info.num_episodes is not None and info.num_episodes != count:
        message = f"{root} has {info.num_episodes} episodes by info.json, and its tables list {count}."
        notes.problem("episodes_missing", message, "Download the missing files below meta/.", str(root / "meta"))


def _note_features(info: Info, camera: str, num_frames: int, num_episodes: int, notes: Notes) -> None:
    for key in info.unread:
        notes.leave_out(f"key {key} of info.json")
    for name in info.features:
        if name in info.cameras and name != camera:
            notes.leave_out(f"camera {name}", num_episodes)
        elif name != camera and name not in OWN_FEATURES:
            notes.leave_out(f"feature {name}", num_frames)


def _is_table(path: Path) -> bool:
    return path.stem in ("episodes", "tasks") or "episodes" in path.parts


def _splits(path: Path, value: Any) -> dict[str, range]:
    splits = {}
    for name, text in value.items() if isinstance(value, dict) else ():
        match = RANGE.fullmatch(text) if isinstance(text, str) else None
        if match is None or not safe_paths.is_component(name):
            raise invalid(path, f"has a split that is not understood: {str(name)[:80]!a}")
        splits[name] = range(int(match[1]), int(match[2]))
    return splits


def _document(path: Path) -> Any:
    """Return the object of a JSON file of ordinary size. Raises OSError or ValueError."""
    with path.open(encoding="utf-8") as file:
        text = file.read(MAX_CHARACTERS + 1)
    if len(text) > MAX_CHARACTERS:
        raise ValueError(TOO_LONG)
    value = whole(text)
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    return value
