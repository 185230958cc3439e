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
from tao_skill_bank.data.annotations import Media, MediaKind, is_positive_number, media_of
from tao_skill_bank.data.archive import Listing
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.scan import Sample, Scan, plain_name
from tao_skill_bank.errors import BlockedError, MissingExtraError

KINDS: tuple[MediaKind, ...] = ("video", "image")
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
    if longest and media_of(longest.record) and all(sample.index != longest.index for sample in chosen):
        chosen.append(longest)
    return chosen


def decode(scan: Scan, listing: Listing | None, pool: Executor, timeout_seconds: float) -> Decoded:
    """Decode the media of the sampled records. Another check reports files that do not exist."""
    if scan.failure or locations.is_uri(scan.media_path):
        return Decoded((), ())
    samples = samples_of(scan)
    places = [_files_of(scan, listing, sample) for sample in samples]
    users: dict[File, list[int]] = {}
    for sample, files in zip(samples, places, strict=True):
        for file in dict.fromkeys(files):
            users.setdefault(file, []).append(sample.index)
    outcomes, findings = decode_files(users, pool, timeout_seconds)
    records = []
    for sample, files in zip(samples, places, strict=True):
        good = tuple(outcomes[file] for file in files if file in outcomes)
        if len(good) == len(media_of(sample.record)):
            records.append(Probed(sample.index, sample.record, media_of(sample.record), good))
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
        (record, media.name, probe)
        for record in decoded.records
        for media, probe in zip(record.media, record.probes, strict=True)
        if media.kind == "video"
    ]
    found += _too_short(where, clips, num_frames)
    found += _other_rate(where, clips)
    uneven = [name for _, name, probe in clips if probe.has_variable_rate]
    if uneven:
        message = (
            f"Clips of {where} have a variable frame rate: {listed(uneven)}. Their frames' own times are used, "
            "and video_fps of their records is not."
        )
        found.append(info("media_variable_rate", message, where, files=uneven))
    found += _animated(where, decoded.records)
    cut = [name for _, name, probe in clips if not probe.is_whole]
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


def _files_of(scan: Scan, listing: Listing | None, sample: Sample) -> list[File]:
    """Return the media files of a record that are here."""
    media = media_of(sample.record)
    return [File(item.kind, path) for item in media if (path := _file_of(scan, listing, item.name))]


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


def _too_short(where: str, clips: Sequence[tuple[Probed, str, MediaProbe]], num_frames: int | None) -> list[Finding]:
    short = {name: probe.num_frames for _, name, probe in clips if num_frames and probe.num_frames < num_frames}
    if not short:
        return []
    shown = listed([f"{name} ({frames})" for name, frames in short.items()])
    message = f"Sampled clips of {where} have fewer frames than the {num_frames} that are asked for: {shown}."
    fix = f"Ask for at most {min(short.values())} frames, sample by fps instead, or drop the clips."
    return [blocking("media_too_short", message, fix, where, frames=short)]


def _other_rate(where: str, clips: Sequence[tuple[Probed, str, MediaProbe]]) -> list[Finding]:
    off: dict[str, dict[str, float]] = {}
    for record, name, probe in clips:
        declared, stated = record.record.get("video_fps"), probe.container_fps
        if probe.has_variable_rate:
            continue  # its frames have times of their own
        if is_positive_number(declared) and stated and abs(declared - stated) > RATE_TOLERANCE * stated:
            off[name] = {"declared": float(declared), "container": round(stated, 3)}
    if not off:
        return []
    shown = listed([f"{name} ({rate['declared']:g}, container {rate['container']:g})" for name, rate in off.items()])
    message = f"Sampled clips of {where} declare another video_fps than their container: {shown}."
    fix = "Write the container's rate into video_fps, or keep it when the container is wrong."
    return [warning("video_fps_differs", message, fix, where, files=off)]
