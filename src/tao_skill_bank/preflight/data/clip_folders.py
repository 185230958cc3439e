"""Checks folders of captioned clips: captions, every file, lengths, frame rates, and clips that are in two sets."""

import filecmp
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path

from tao_skill_bank.contracts import ClipDataset, Finding
from tao_skill_bank.data import clip_folders
from tao_skill_bank.data.clip_folders import ClipFolder
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.preflight import locations
from tao_skill_bank.preflight.data import probing
from tao_skill_bank.preflight.findings import MAX_LISTED, blocking, info, listed, not_checked, warning

DECODE_SECONDS_IN_ALL = 20.0  # shared out over the clips of a folder; headers and packets are read besides
MAX_COMPARED = 32
RATE_TOLERANCE = 0.01
PLACE_OF_CAPTIONS = {".txt": "text files", ".json": "JSON files"}


@dataclass(frozen=True)
class ClipScan:
    """What was found of one folder. `outcomes` is empty where clips could not be probed."""

    use: ClipDataset
    found: ClipFolder
    failure: Finding | None = None
    outcomes: Mapping[Path, MediaProbe | BlockedError] = field(default_factory=dict)

    @property
    def num_usable(self) -> int:
        """Clips that can be trained on: captioned, readable and long enough."""
        return sum(self._is_usable(clip.video) for clip in self.found.captioned)

    @property
    def frames(self) -> dict[Path, int]:
        """Frames of every clip that can be read."""
        return {path: probe.num_frames for path, probe in self.outcomes.items() if isinstance(probe, MediaProbe)}

    def name(self, video: Path) -> str:
        """Return how a clip is called in a finding."""
        return video.relative_to(self.found.folder).as_posix()

    def _is_usable(self, video: Path) -> bool:
        outcome = self.outcomes.get(video)
        return not self.outcomes or (
            isinstance(outcome, MediaProbe) and outcome.is_whole and outcome.num_frames >= self.use.min_frames
        )


def scan(use: ClipDataset, pool: Executor, timeout_seconds: float) -> ClipScan:
    """Read a folder and probe every clip in it, each for at most `timeout_seconds`."""
    folder = Path(use.folder)
    if locations.is_uri(use.folder):
        message = f"Clips {use.folder} are not on this machine."
        fix = f"To have them checked first: tao-skills data stage {use.folder} FOLDER, then name the folder."
        return ClipScan(use, ClipFolder(folder), not_checked("clips_remote", message, fix, use.folder))
    found = clip_folders.read(folder, captions=use.captions, key=use.caption_key, nested=use.nested)
    videos = [clip.video for clip in found.clips]
    decode_seconds = DECODE_SECONDS_IN_ALL / max(1, len(videos))
    try:
        return ClipScan(use, found, outcomes=probing.probe_all(videos, pool, timeout_seconds, decode_seconds))
    except MissingExtraError:
        return ClipScan(use, found)


def check(scans: Sequence[ClipScan]) -> list[Finding]:
    """Return the findings on all folders, and on clips that are in a training and an evaluation folder."""
    train_sets = [scan for scan in scans if scan.use.role == "train"]
    eval_sets = [scan for scan in scans if scan.use.role == "eval"]
    return [
        *(finding for scan in scans for finding in _check_one(scan)),
        *(finding for train in train_sets for held_out in eval_sets for finding in _overlap(train, held_out)),
    ]


def _check_one(scan: ClipScan) -> list[Finding]:
    if scan.failure:
        return [scan.failure]
    path = scan.use.folder
    found = [
        blocking(
            problem.code, problem.message, problem.fix, path, items=problem.got[:MAX_LISTED], count=len(problem.got)
        )
        for problem in scan.found.problems
    ]
    if not scan.found.clips:
        return found
    found += [*_broken(scan), *_truncated(scan), *_too_short(scan), *_variable_rate(scan)]
    if scan.use.skips_unusable and scan.num_usable:
        found = [replace(finding, severity="warning") for finding in found]
    found += _mixed_rates(scan)
    if not scan.outcomes:
        message = f"Clips of {path} were not probed: PyAV is not installed here."
        found.append(not_checked("clips_not_probed", message, "pip install 'tao-skill-bank[train]'", path))
    return [*found, _summary(scan)]


def _broken(scan: ClipScan) -> list[Finding]:
    """Return one finding for all clips that cannot be decoded, with the reason of each."""
    errors = {path: outcome for path, outcome in scan.outcomes.items() if isinstance(outcome, BlockedError)}
    if not errors:
        return []
    reasons = [
        f"{scan.name(path)} ({error.problems[0].message.rpartition(': ')[2].rstrip('.')})"
        for path, error in errors.items()
    ]
    message = f"{scan.use.folder}: {len(errors)} clips cannot be decoded: {listed(reasons)}."
    fix = "Copy or encode them again, or drop them."
    return [blocking("clips_unreadable", message, fix, scan.use.folder, **_files(scan, list(errors)))]


def _truncated(scan: ClipScan) -> list[Finding]:
    cut = [path for path, probe in _probes(scan).items() if not probe.is_whole]
    if not cut:
        return []
    names = listed([scan.name(path) for path in cut])
    message = f"{scan.use.folder}: {len(cut)} clips hold fewer frames that can be decoded than they promise: {names}."
    return [blocking("clips_truncated", message, "Copy or encode them again.", scan.use.folder, **_files(scan, cut))]


def _too_short(scan: ClipScan) -> list[Finding]:
    use, frames = scan.use, scan.frames
    short = {path: count for path, count in frames.items() if count < use.min_frames}
    if not short:
        return []
    most = _largest_window(use, max(frames.values()) if len(short) == len(frames) else min(short.values()))
    names = listed([f"{scan.name(path)} ({count})" for path, count in short.items()])
    if len(short) == len(frames):
        message = (
            f"{use.folder}: all {len(short)} clips are shorter than the {use.min_frames} frames that are asked for; "
            f"the longest has {max(frames.values())}: {names}."
        )
        cure = f"Lower the number of frames to {most}, the most that any of these clips has"
    else:
        message = (
            f"{use.folder}: {len(short)} of {len(frames)} clips are shorter than the {use.min_frames} frames that are "
            f"asked for: {names}."
        )
        cure = f"Drop these clips, or lower the number of frames to {most}, which all of them have"
    fix = f"{cure}." if most else "Drop these clips: they are too short for any number of frames."
    shortest = {scan.name(path): count for path, count in list(short.items())[:MAX_LISTED]}
    return [blocking("clips_too_short", message, fix, use.folder, frames=shortest, count=len(short), largest=most)]


def _largest_window(use: ClipDataset, num_frames: int) -> int:
    """Return the largest number of frames below `min_frames` that the model takes and a clip has; 0 for none."""
    steps = -((num_frames - use.min_frames) // use.frame_step)
    return max(0, use.min_frames - steps * use.frame_step)


def _variable_rate(scan: ClipScan) -> list[Finding]:
    """Block clips whose frames are unevenly spaced: a window of them shows motion that speeds up and slows down."""
    uneven = [path for path, probe in _probes(scan).items() if probe.has_variable_rate]
    if not uneven:
        return []
    names = listed([scan.name(path) for path in uneven])
    message = (
        f"{scan.use.folder}: {len(uneven)} clips have a variable frame rate, so that motion in them speeds up and "
        f"slows down: {names}."
    )
    fix = "Write copies at a constant rate and use those: python -m tao_skill_bank.constant_rate IN.mp4 OUT.mp4"
    return [blocking("clips_variable_rate", message, fix, scan.use.folder, **_files(scan, uneven))]


def _mixed_rates(scan: ClipScan) -> list[Finding]:
    rates = {path: probe.container_fps for path, probe in _probes(scan).items() if probe.container_fps}
    if not rates:
        return []
    usual = Counter(round(rate, 2) for rate in rates.values()).most_common(1)[0][0]
    other = [path for path, rate in rates.items() if abs(rate - usual) > RATE_TOLERANCE * usual]
    if not other:
        return []
    names = listed([f"{scan.name(path)} ({rates[path]:g})" for path in other])
    message = (
        f"{scan.use.folder}: most clips have {usual:g} frames per second, {len(other)} another rate: {names}. Frames "
        "are taken one by one, so the model sees motion at several speeds."
    )
    fix = f"Write copies at one rate: python -m tao_skill_bank.constant_rate IN.mp4 OUT.mp4 --fps {usual:g}"
    return [warning("clip_rates_differ", message, fix, scan.use.folder, **_files(scan, other))]


def _summary(scan: ClipScan) -> Finding:
    use, clips = scan.use, scan.found.clips
    sources = Counter(_place(clip.caption_source) for clip in scan.found.captioned)
    evidence = {"clips": len(clips), "usable": scan.num_usable, "captions": dict(sources)}
    message = f"{use.folder} holds {len(clips)} {use.role} clips, {scan.num_usable} of them usable"
    if scan.frames:
        fewest, most = min(scan.frames.values()), max(scan.frames.values())
        message += f", of {fewest} frames" if fewest == most else f", of {fewest} to {most} frames"
        evidence |= {"fewest_frames": fewest, "most_frames": most}
    told = ", ".join(f"{count} from {place}" for place, count in sources.items())
    return info("clips", f"{message}; captions: {told or 'none'}.", use.folder, role=use.role, **evidence)


def _place(source: str) -> str:
    return PLACE_OF_CAPTIONS.get(Path(source).suffix, Path(source).name)


def _overlap(train: ClipScan, held_out: ClipScan) -> list[Finding]:
    """Compare two folders by content, and by name: sets that both number their clips from 0 may share names only."""
    same = _same_content(train, held_out)
    path = held_out.use.folder
    fix = "Move every clip into one of the two sets only."
    if same:
        names = listed([held_out.name(video) for video in same])
        message = (
            f"{len(same)} clips of {path} are also in {train.use.folder}: {names}; the scores will flatter the model."
        )
        return [warning("train_eval_overlap", message, fix, path, **_files(held_out, same))]
    names_in_both = sorted({clip.name for clip in train.found.clips} & {clip.name for clip in held_out.found.clips})
    if not names_in_both:
        return []
    message = (
        f"{len(names_in_both)} clips of {path} have the name of a clip in {train.use.folder}, with other content: "
        f"{listed(names_in_both)}."
    )
    fix = "If they show the same scene, move each into one of the two sets; else nothing needs to be done."
    return [warning("train_eval_names", message, fix, path, names=names_in_both[:MAX_LISTED], count=len(names_in_both))]


def _same_content(train: ClipScan, held_out: ClipScan) -> list[Path]:
    by_size: dict[int, list[Path]] = {}
    for path, size in _sizes(train).items():
        by_size.setdefault(size, []).append(path)
    pairs = [(path, other) for path, size in _sizes(held_out).items() for other in by_size.get(size, [])]
    step = max(1, len(pairs) // MAX_COMPARED)
    compared = pairs[::step][:MAX_COMPARED]
    return list(dict.fromkeys(ours for ours, theirs in compared if filecmp.cmp(ours, theirs, shallow=False)))


def _sizes(scan: ClipScan) -> dict[Path, int]:
    """Return the bytes of every clip; of a link that leads nowhere there are none."""
    return {clip.video: clip.video.stat().st_size for clip in scan.found.clips if clip.video.is_file()}


def _probes(scan: ClipScan) -> dict[Path, MediaProbe]:
    return {path: probe for path, probe in scan.outcomes.items() if isinstance(probe, MediaProbe)}


def _files(scan: ClipScan, videos: Sequence[Path]) -> dict[str, object]:
    return {"files": [scan.name(video) for video in videos[:MAX_LISTED]], "count": len(videos)}
