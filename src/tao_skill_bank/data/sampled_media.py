"""Decodes sampled media under a timeout and compares them with what the records and the spec say."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import blocking, from_error, info, listed, not_checked, warning
from tao_skill_bank.data import probing
from tao_skill_bank.data.archive import Listing
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.data.records.values import Media, MediaKind
from tao_skill_bank.data.scan import Sample, Scan, plain_name
from tao_skill_bank.errors import BlockedError, MissingExtraError

KINDS: tuple[MediaKind, ...] = ("video", "image")
MAX_DECODED_FRAMES = 16  # of one list of frames
RATE_TOLERANCE = 0.01  # 29.97 declared as 30 is within it, 25 declared as 24 is not


class File(NamedTuple):
    """A media file, and what it is read as."""

    kind: MediaKind
    path: Path


@dataclass(frozen=True)
class Probed:
    """A record all of whose media were decoded, with one probe per media."""

    index: int | None
    record: Mapping[str, Any]
    media: tuple[Media, ...]
    probes: tuple[MediaProbe, ...]


@dataclass(frozen=True)
class Decoded:
    """The records that could be decoded, and the findings on those that could not."""

    records: tuple[Probed, ...]
    findings: tuple[Finding, ...]


def samples_of(scan: Scan) -> list[Sample]:
    """Return the sampled records, the one with the most text among them."""
    chosen = list(scan.samples)
    longest = scan.longest
    if (
        longest
        and media_of(longest.record, scan.rules.conversations_key)
        and all(sample.index != longest.index for sample in chosen)
    ):
        chosen.append(longest)
    return chosen


def decode(scan: Scan, listing: Listing | None, pool: Executor, timeout_seconds: float) -> Decoded:
    """Decode the media of the sampled records. Another check reports files that do not exist."""
    if scan.failure or locations.is_uri(scan.media_path):
        return Decoded((), ())
    samples = samples_of(scan)
    media_of_samples = [media_of(sample.record, scan.rules.conversations_key) for sample in samples]
    places = [[_files_of(scan, listing, media) for media in each] for each in media_of_samples]
    users: dict[File, list[int]] = {}
    for sample, files_of_media in zip(samples, places, strict=True):
        for file in dict.fromkeys(file for files in files_of_media for file in files):
            users.setdefault(file, []).append(sample.index)
    outcomes, findings = decode_files(users, pool, timeout_seconds)
    records = []
    for sample, media, files_of_media in zip(samples, media_of_samples, places, strict=True):
        for item, files in zip(media, files_of_media, strict=True):
            findings += _differing_sizes(item, sample.index, [outcomes[file] for file in files if file in outcomes])
        probes = [_probe_of(item, files, outcomes) for item, files in zip(media, files_of_media, strict=True)]
        good = tuple(probe for probe in probes if probe)
        if len(good) == len(media):
            records.append(Probed(sample.index, sample.record, media, good))
    return Decoded(tuple(records), tuple(findings))


def decode_files(
    files: Mapping[File, Sequence[int]], pool: Executor, timeout_seconds: float
) -> tuple[dict[File, MediaProbe], list[Finding]]:
    """Decode files in a few children at once.

    Args:
        files: each with the positions of the records that name it, if any.
        pool: runs the children.
        timeout_seconds: time limit per file.

    Returns:
        The probe of every sound file, and the findings on the others in the order of the files.

    """
    outcomes: dict[File, MediaProbe | BlockedError] = {}
    try:
        for kind in KINDS:
            paths = [file.path for file in files if file.kind == kind]
            found = probing.probe_all(paths, pool, timeout_seconds, kind=kind) if paths else {}
            outcomes |= {File(kind, path): outcome for path, outcome in found.items()}
    except MissingExtraError as error:
        problem = error.problems[0]
        return {}, [not_checked("media_not_decoded", f"Media were not decoded. {problem.message}", problem.fix)]
    good = {file: outcome for file, outcome in outcomes.items() if isinstance(outcome, MediaProbe)}
    broken = [
        _named_by(finding, files[file])
        for file in files
        if isinstance(outcome := outcomes[file], BlockedError)
        for finding in from_error(outcome)
    ]
    return good, broken


def check(where: str, decoded: Decoded, num_frames: int | None) -> list[Finding]:
    """Return the findings on decoded media: too short, another rate than declared, an uneven rate, cut off."""
    found = list(decoded.findings)
    clips = [
        (media, probe)
        for record in decoded.records
        for media, probe in zip(record.media, record.probes, strict=True)
        if media.kind == "video"
    ]
    found += _too_short(where, clips, num_frames)
    found += _other_rate(where, clips)
    uneven = [media.name for media, probe in clips if probe.has_variable_rate]
    if uneven:
        message = (
            f"Clips of {where} have a variable frame rate: {listed(uneven)}. Their frames' own times are used, "
            "and video_fps of their records is not."
        )
        found.append(info("media_variable_rate", message, where, files=uneven))
    found += _animated(where, decoded.records)
    cut = [media.name for media, probe in clips if not probe.is_whole]
    if cut:
        message = f"Clips of {where} hold fewer frames that can be decoded than their header promises: {listed(cut)}."
        found.append(blocking("media_truncated", message, "Copy or encode them again.", where, files=cut))
    if decoded.records:
        num_files = sum(len(record.probes) for record in decoded.records)
        found.append(
            info("media_decoded", f"{num_files} sampled media of {where} were decoded.", where, files=num_files)
        )
    return found


def _animated(where: str, records: Sequence[Probed]) -> list[Finding]:
    names = [
        media.name
        for record in records
        for media, probe in zip(record.media, record.probes, strict=True)
        if probe.is_animated
    ]
    if not names:
        return []
    message = f"Pictures of {where} have several frames, of which only the first is shown: {listed(names)}."
    fix = "To show all of them, convert them to clips (ffmpeg -i IN OUT.mp4) and name them under `video`."
    return [warning("media_animated", message, fix, where, files=names)]


def _files_of(scan: Scan, listing: Listing | None, media: Media) -> list[File]:
    """Return the files of a medium that exist: of a list of frames some, evenly spread, the first and last included."""
    step = max(1, (len(media.files) - 1) // (MAX_DECODED_FRAMES - 1))
    chosen = dict.fromkeys([*media.files[::step], media.files[-1]])
    kind: MediaKind = "image" if media.frames else media.kind
    return [File(kind, path) for name in chosen if (path := _file_of(scan, listing, name))]


def _probe_of(media: Media, files: Sequence[File], outcomes: Mapping[File, MediaProbe]) -> MediaProbe | None:
    """Return the probe of a medium; of a list of frames that of its first one, with the number and time of all."""
    probes = [outcomes[file] for file in files if file in outcomes]
    if not probes or len(probes) < len(files):
        return None
    if not media.frames:
        return probes[0]
    if not media.rate:
        return None  # the record's own issue
    count = len(media.frames)
    return replace(
        probes[0],
        num_frames=count,
        declared_frames=count,
        decoded_frames=count,
        duration_seconds=count / media.rate,
        container_fps=media.rate,
    )


def _differing_sizes(media: Media, index: int, probes: Sequence[MediaProbe]) -> list[Finding]:
    """Return the finding on a list of frames that are not all of one size, as the trainer refuses it."""
    sizes = dict.fromkeys((probe.width, probe.height) for probe in probes) if media.frames else {}
    if len(sizes) < 2:
        return []
    shown = listed([f"{width}x{height}" for width, height in sizes])
    message = f"The frames of the clip {media.name} (record {index}) have different sizes: {shown}."
    return [blocking("frame_sizes_differ", message, "Write all frames of a clip in one size.", records=[index])]


def _named_by(finding: Finding, records: Sequence[int]) -> Finding:
    """Return a finding on a file with the records that name it."""
    if not records:
        return finding
    message = f"{finding.message.removesuffix('.')} (record {listed(records)})."
    return replace(finding, message=message, evidence={**finding.evidence, "records": list(records)})


def _file_of(scan: Scan, listing: Listing | None, name: str) -> Path | None:
    if listing:
        return listing.extracted.get(plain_name(name))
    path = Path(scan.path_of(name))
    return path if path.is_file() else None


def _too_short(where: str, clips: Sequence[tuple[Media, MediaProbe]], num_frames: int | None) -> list[Finding]:
    short = {
        media.name: probe.num_frames
        for media, probe in clips
        if num_frames and probe.num_frames < num_frames and media.indices is None
    }
    if not short:
        return []
    shown = listed([f"{name} ({frames})" for name, frames in short.items()])
    message = f"Sampled clips of {where} have fewer frames than the {num_frames} that are asked for: {shown}."
    fix = f"Ask for at most {min(short.values())} frames, sample by fps instead, or drop the clips."
    return [blocking("media_too_short", message, fix, where, frames=short)]


def _other_rate(where: str, clips: Sequence[tuple[Media, MediaProbe]]) -> list[Finding]:
    off: dict[str, dict[str, float]] = {}
    for media, probe in clips:
        declared, stated = media.rate, probe.container_fps
        if probe.has_variable_rate:
            continue  # its frames have times of their own
        if declared and stated and abs(declared - stated) > RATE_TOLERANCE * stated:
            off[media.name] = {"declared": declared, "container": round(stated, 3)}
    if not off:
        return []
    shown = listed([f"{name} ({rate['declared']:g}, container {rate['container']:g})" for name, rate in off.items()])
    message = f"Sampled clips of {where} declare another video_fps than their container: {shown}."
    fix = "Write the container's rate into video_fps, or keep it when the container is wrong."
    return [warning("video_fps_differs", message, fix, where, files=off)]
