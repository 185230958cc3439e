"""What probing the clips of a folder found, and clips that are in two folders."""

import filecmp
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import MAX_LISTED, blocking, listed
from tao_skill_bank.data import header_findings, headers, media_probe, probing
from tao_skill_bank.data.headers import Budget, Look, MediaFile
from tao_skill_bank.data.media.header import Header
from tao_skill_bank.data.media.refusals import reason_in
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.errors import BlockedError, MissingExtraError

DECODE_SECONDS_IN_ALL = 20.0  # shared out over the decoded clips of a folder; their packets are read besides
MAX_DECODED = 256  # clips of a folder that are decoded; of the others the headers are read
MAX_COMPARED = 32


@dataclass(frozen=True)
class ClipOutcomes:
    """The probe of every clip of a folder, or why it cannot be decoded. Empty where clips could not be probed.

    Attributes:
        left: the finding on clips that were not reached in time, which have no outcome; else nothing.

    """

    folder: str
    outcomes: Mapping[Path, MediaProbe | BlockedError] = field(default_factory=dict)
    left: Sequence[Finding] = ()

    @property
    def probes(self) -> dict[Path, MediaProbe]:
        return {path: probe for path, probe in self.outcomes.items() if isinstance(probe, MediaProbe)}

    @property
    def frames(self) -> dict[Path, int]:
        """Frames of every clip that can be read."""
        return {path: probe.num_frames for path, probe in self.probes.items()}

    def is_usable(self, video: Path, min_frames: int) -> bool:
        """Tell whether a clip is whole and long enough, as far as that is known."""
        outcome = self.outcomes.get(video)
        return outcome is None or (
            isinstance(outcome, MediaProbe) and outcome.is_whole and outcome.num_frames >= min_frames
        )

    def name(self, video: Path) -> str:
        """Return how a clip is called in a finding."""
        return video.relative_to(self.folder).as_posix()

    def evidence(self, videos: Sequence[Path]) -> dict[str, Any]:
        """Return what a finding records of some clips."""
        return {"files": [self.name(video) for video in videos[:MAX_LISTED]], "count": len(videos)}

    def unreadable(self) -> list[Finding]:
        """Return one finding for all clips that cannot be decoded, with the reason of each."""
        errors = {path: outcome for path, outcome in self.outcomes.items() if isinstance(outcome, BlockedError)}
        if not errors:
            return []
        reasons = [f"{self.name(path)} ({reason_in(error)})" for path, error in errors.items()]
        message = f"{self.folder}: {len(errors)} clips cannot be decoded: {listed(reasons)}."
        fix = "Copy or encode them again, or drop them."
        return [blocking("clips_unreadable", message, fix, self.folder, **self.evidence(list(errors)))]

    def truncated(self) -> list[Finding]:
        """Return one finding for all clips that end before their header says."""
        cut = [path for path, probe in self.probes.items() if not probe.is_whole]
        if not cut:
            return []
        names = listed([self.name(path) for path in cut])
        message = f"{self.folder}: {len(cut)} clips hold fewer frames that can be decoded than they promise: {names}."
        return [blocking("clips_truncated", message, "Copy or encode them again.", self.folder, **self.evidence(cut))]


def probe(
    folder: str,
    videos: Sequence[Path],
    pool: Executor,
    timeout_seconds: float,
    budget: Budget,
    num_decoded: int = MAX_DECODED,
) -> ClipOutcomes:
    """Read the header of every clip of a folder and decode some, each for at most `timeout_seconds`.

    Without PyAV none is probed.
    """
    try:
        found = headers.look((MediaFile("video", str(video)) for video in videos), pool, budget)
        sampled = _evenly(videos, found, num_decoded)
        decode_seconds = DECODE_SECONDS_IN_ALL / max(1, len(sampled))
        decoded = probing.probe_all(sampled, pool, timeout_seconds, decode_seconds)
    except MissingExtraError:
        return ClipOutcomes(folder)
    outcomes = {video: decoded.get(video) or _outcome(found, video) for video in videos}
    known = {video: outcome for video, outcome in outcomes.items() if outcome is not None}
    return ClipOutcomes(folder, known, header_findings.left(folder, found, budget.seconds))


def _evenly(videos: Sequence[Path], found: Look, number: int) -> list[Path]:
    """Return some clips, evenly spread, without those whose header hangs or crashes a process."""
    sound = [video for video in videos if MediaFile("video", str(video)) not in found.broken]
    return [sound[position * len(sound) // number] for position in range(number)] if len(sound) > number else sound


def _outcome(found: Look, video: Path) -> MediaProbe | BlockedError | None:
    outcome = found.of(MediaFile("video", str(video)))
    return media_probe.of_header(outcome) if isinstance(outcome, Header) else outcome


def in_both(ours: Iterable[Path], theirs: Iterable[Path]) -> list[Path]:
    """Return those of our clips whose content is also one of theirs; at most `MAX_COMPARED` pairs are compared."""
    by_size: dict[int, list[Path]] = {}
    for path, size in _sizes(theirs).items():
        by_size.setdefault(size, []).append(path)
    pairs = [(path, other) for path, size in _sizes(ours).items() for other in by_size.get(size, [])]
    step = max(1, len(pairs) // MAX_COMPARED)
    compared = pairs[::step][:MAX_COMPARED]
    return list(dict.fromkeys(ours for ours, theirs in compared if filecmp.cmp(ours, theirs, shallow=False)))


def _sizes(videos: Iterable[Path]) -> dict[Path, int]:
    """Return the bytes of every clip; of a link that leads nowhere there are none."""
    return {video: video.stat().st_size for video in videos if video.is_file()}
