"""The media that a record or a content part names: files, and clips given as lists of frames, with their times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.core import numbers
from tao_skill_bank.data.records import media_names
from tao_skill_bank.data.records.issues import Issues, shown
from tao_skill_bank.data.records.rates import rate_of
from tao_skill_bank.data.records.values import Media, MediaKind

MEDIA_KEYS: tuple[tuple[str, MediaKind], ...] = (
    ("video", "video"),
    ("videos", "video"),
    ("image", "image"),
    ("images", "image"),
)
TIME_KEYS = ("video_fps", "video_start", "video_end", "start", "end", "sample_fps", "frames_indices")
MAX_SECONDS = 1e9
RATES = ("video_fps", "sample_fps")


@dataclass(frozen=True)
class Times:
    """What a record, or a content part, says about the times of its videos; see `Media`."""

    video_fps: float | None = None
    sample_fps: float | None = None
    indices: tuple[int, ...] | None = None
    start: float | None = None
    end: float | None = None


def times_of(holder: Mapping[str, Any], place: str, issues: Issues, outer: Times | None = None) -> Times:
    """Return the times that a record or part gives; a part inherits the others from its record."""
    outer = outer or Times()
    rates = {}
    for key in RATES:
        value = holder.get(key)
        rates[key] = getattr(outer, key) if value is None else rate_of(value)
        if value is not None and rates[key] is None:
            issues.add(f"{key}_invalid", f"{place}{key}", shown(value))
    start, end = (_second(holder, name, place, issues) for name in ("start", "end"))
    start, end = (outer.start if start is None else start), (outer.end if end is None else end)
    if start is not None and end is not None and end <= start:
        issues.add("clip_range_invalid", f"{place}video_end", f"{end:g} is not above video_start {start:g}")
    indices = outer.indices if holder.get("frames_indices") is None else _indices(holder, place, issues)
    return Times(rates["video_fps"], rates["sample_fps"], indices, start, end)


def reads_bare(holder: Mapping[str, Any], name: str) -> bool:
    """Return whether the second is read from the key `start` or `end`: a number, without `video_start` or so."""
    seconds = numbers.finite(holder.get(name))
    return seconds is not None and 0 <= seconds <= MAX_SECONDS and holder.get(f"video_{name}") is None


def declared(record: Mapping[str, Any], times: Times, issues: Issues) -> list[Media]:
    """Return the media under a record's own keys: videos, then images."""
    return [
        media for key, kind in MEDIA_KEYS for media in under(record.get(key), kind, key, times, issues)
    ]  # fmt: skip


def under(value: Any, kind: MediaKind, place: str, times: Times, issues: Issues) -> list[Media]:
    """Return the media of one value: a name, a list of names, or the names of a clip's frames."""
    if value is None or value in ("", []):
        return []
    if not isinstance(value, list):
        return [_file(value, kind, place, times, issues)]
    if kind == "video" and not place.endswith("videos") and all(map(media_names.is_image, value)):
        return [_clip_of_frames(value, place, times, issues)]
    found = []
    for index, entry in enumerate(value):
        where = f"{place}[{index}]"
        is_clip = kind == "video" and isinstance(entry, list) and entry
        found.append(
            _clip_of_frames(entry, where, times, issues) if is_clip else _file(entry, kind, where, times, issues)
        )
    return found


def _file(value: Any, kind: MediaKind, place: str, times: Times, issues: Issues) -> Media:
    name = media_names.read(value, kind, place, issues)
    if kind == "image":
        return Media(kind, name)
    return Media(kind, name, rate=times.video_fps, start=times.start, end=times.end)


def _clip_of_frames(names: list[Any], place: str, times: Times, issues: Issues) -> Media:
    read = [media_names.read(name, "image", f"{place}[{index}]", issues) for index, name in enumerate(names)]
    rate, indices = _frame_times(len(names), place, times, issues)
    if indices is not None and (times.start is not None or times.end is not None):
        issues.add("clip_range_invalid", place, "its frames are sampled already")
    frames = tuple(read) if all(read) else ()
    name = frames[0] if frames else media_names.INVALID
    return Media("video", name, frames, rate, indices, times.start, times.end)


def _frame_times(count: int, place: str, times: Times, issues: Issues) -> tuple[float | None, tuple[int, ...] | None]:
    """Return the rate and the frame numbers of a list of frames; None for frames that are not sampled yet."""
    if times.indices is not None:
        if times.video_fps is None:
            issues.add("frames_without_rate", place, "frames_indices need video_fps")
        if len(times.indices) != count:
            issues.add("frames_indices_invalid", place, f"{len(times.indices)} numbers for {count} frames")
            return None, None
        return times.video_fps, times.indices
    if times.sample_fps is not None:
        return times.sample_fps, tuple(range(count))
    if times.video_fps is None:
        issues.add("frames_without_rate", place)
    return times.video_fps, None


def _second(holder: Mapping[str, Any], name: str, place: str, issues: Issues) -> float | None:
    """Return the second under `video_<name>`, else a number under the bare name."""
    key = f"video_{name}"
    value = holder.get(key)
    if value is None:
        if not reads_bare(holder, name):
            return None
        key, value = name, holder[name]
    seconds = numbers.finite(value)
    if seconds is None or not 0 <= seconds <= MAX_SECONDS or (name == "end" and not seconds):
        issues.add("clip_range_invalid", f"{place}{key}", shown(value))
        return None
    return seconds


def _indices(holder: Mapping[str, Any], place: str, issues: Issues) -> tuple[int, ...]:
    value = holder["frames_indices"]
    indices = value if isinstance(value, list) else [None]
    whole = all(isinstance(index, int) and not isinstance(index, bool) and index >= 0 for index in indices)
    if not whole or indices != sorted(set(indices)) or max(indices, default=0) > 2**53:
        issues.add("frames_indices_invalid", f"{place}frames_indices", shown(value))
        return ()
    return tuple(indices)
