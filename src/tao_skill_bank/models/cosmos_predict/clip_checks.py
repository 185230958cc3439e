"""Decodes every clip of a folder, selects the usable ones, and re-encodes those with a variable rate."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tao_skill_bank.data import constant_rate
from tao_skill_bank.data.clip_folders import Clip, ClipFolder
from tao_skill_bank.data.issues import Issue, IssueType, as_problems
from tao_skill_bank.data.media.refusals import reason_in
from tao_skill_bank.data.media_probe import MediaProbe, probe_in_children
from tao_skill_bank.errors import BlockedError, Problem
from tao_skill_bank.models.cosmos_predict.geometry import nearest_num_frames
from tao_skill_bank.runs.status_log import StatusWriter

TIMEOUT_SECONDS = 240.0  # per clip, half of it for decoding
MAX_CHILDREN = 4
CLIPS_PER_CHILD = 8  # a child starts in 0.2 s


@dataclass(frozen=True)
class Checked:
    """The usable clips of a folder.

    Attributes:
        usable: captioned, decodable and long enough; `video` is the copy, if there is one.
        issues: clips that cannot be decoded or are too short.
        retimed: names of the clips that were copied at a constant rate.
        min_frames: the required minimum.
        largest: the most frames, 4 k + 1, that all (else any) of the short clips have.

    """

    usable: tuple[Clip, ...]
    issues: tuple[Issue, ...]
    retimed: list[str]
    min_frames: int
    largest: int

    def problems(self, folder: Path) -> tuple[Problem, ...]:
        """Return one problem per issue type."""
        issue_types = {
            "clips_unreadable": IssueType("clip{s} that cannot be decoded", "Copy or encode them again, or drop them."),
            "clips_too_short": IssueType(
                f"clip{{s}} with fewer than {self.min_frames} frames",
                f"Drop them, or train on shorter windows: set min_frames to {self.largest} here and dataset.num_frames "
                "to that in training.",
            ),
        }
        return as_problems(self.issues, issue_types, folder)


def check_clips(found: ClipFolder, min_frames: int, retimed_dir: Path, status: StatusWriter) -> Checked:
    """Decode every clip. Copies at a constant rate go into `retimed_dir`."""
    outcomes = _probe_all([clip.video for clip in found.clips], status)
    captioned = set(found.captioned)
    usable, issues, retimed = [], [], []
    lengths: dict[str, int] = {}
    for clip in found.clips:
        item = clip.video.relative_to(found.folder).as_posix()
        try:
            ready, num_frames = _ready(clip, outcomes[clip.video], retimed_dir)
        except BlockedError as error:
            issues.append(Issue("clips_unreadable", item, reason_in(error)))
            continue
        lengths[item] = num_frames
        if num_frames < min_frames:
            issues.append(Issue("clips_too_short", item, f"{num_frames} frames"))
        elif clip in captioned:
            usable.append(ready)
            retimed += [clip.name] if ready != clip else []
    short = [length for length in lengths.values() if length < min_frames]
    fitting = (min(short) if len(short) < len(lengths) else max(short)) if short else min_frames
    return Checked(tuple(usable), tuple(issues), retimed, min_frames, nearest_num_frames(fitting)[0])


def _ready(clip: Clip, outcome: MediaProbe | BlockedError, retimed_dir: Path) -> tuple[Clip, int]:
    """Return a clip ready to be cut into windows, and its length. Raises BlockedError when it cannot be decoded."""
    if isinstance(outcome, BlockedError):
        raise outcome
    if not outcome.is_whole:
        promised = max(outcome.declared_frames, outcome.num_frames)
        raise BlockedError.of("media_truncated", f": {outcome.decoded_frames} of {promised} frames can be decoded", "")
    if not outcome.has_variable_rate:
        return clip, outcome.num_frames
    retimed_dir.mkdir(exist_ok=True)
    copy = constant_rate.write_copy(clip.video, retimed_dir / f"{clip.name}.mp4")
    return replace(clip, video=copy.target), copy.num_frames


def _probe_all(videos: Sequence[Path], status: StatusWriter) -> dict[Path, MediaProbe | BlockedError]:
    outcomes: dict[Path, MediaProbe | BlockedError] = {}
    with ThreadPoolExecutor(min(MAX_CHILDREN, os.cpu_count() or 1)) as pool:
        for found in pool.map(lambda group: probe_in_children(group, TIMEOUT_SECONDS), _groups(videos)):
            outcomes |= found
            status.progress(len(outcomes), len(videos), f"{len(outcomes)} of {len(videos)} clips decoded")
    return outcomes


def _groups(videos: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (videos[start : start + CLIPS_PER_CHILD] for start in range(0, len(videos), CLIPS_PER_CHILD))
