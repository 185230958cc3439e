"""Decodes sampled media under a timeout and compares them with what the records and the spec say."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import blocking, from_error, info, listed, not_checked, warning
from tao_skill_bank.data import probing
from tao_skill_bank.data.archive import Listing
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.data.records.values import Media
from tao_skill_bank.data.scan import Sample, Scan, plain_name
from tao_skill_bank.errors import BlockedError, MissingExtraError

MAX_DECODED_FRAMES = 16  # of one list of frames
RATE_TOLERANCE = 0.01  # 29.97 declared as 30 is within it, 25 declared as 24 is not


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
    key = scan.rules.conversations_key
    media_of_samples = [media_of(sample.record, key) for sample in samples]
    places = [[_files_of(scan, listing, media) for media in each] for each in media_of_samples]
    wanted = list(dict.fromkeys(file for files_of_media in places for files in files_of_media for file in files))
    outcomes, findings = decode_files(wanted, pool, timeout_seconds)
    records = []
    for sample, media, files_of_media in zip(samples, media_of_samples, places, strict=True):
        probes = [_probe_of(item, files, outcomes) for item, files in zip(media, files_of_media, strict=True)]
        good = tuple(probe for probe in probes if probe)
        if len(good) == len(media):
            records.append(Probed(sample.index, sample.record, media, good))
    return Decoded(tuple(records), tuple(findings))


def decode_files(
    files: Sequence[Path], pool: Executor, timeout_seconds: float
) -> tuple[dict[Path, MediaProbe], list[Finding]]:
    """Decode files in a few children at once; the findings are in the order of the files."""
    try:
        outcomes = probing.probe_all(files, pool, timeout_seconds)
    except MissingExtraError as error:
        problem = error.problems[0]
        return {}, [not_checked("media_not_decoded", f"Media were not decoded. {problem.message}", problem.fix)]
    good = {file: outcome for file, outcome in outcomes.items() if isinstance(outcome, MediaProbe)}
    broken = [outcome for file in files if isinstance(outcome := outcomes[file], BlockedError)]
    return good, [finding for error in broken for finding in from_error(error)]


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
        message = f"Clips of {where} have a variable frame rate: {listed(uneven)}; frame times will be off."
        fix = "Re-encode them at a constant rate: ffmpeg -i IN -vsync cfr OUT"
        found.append(warning("media_variable_rate", message, fix, where, files=uneven))
    cut = [media.name for media, probe in clips if probe.num_frames < 0.98 * probe.declared_frames]
    if cut:
        message = f"Clips of {where} hold fewer frames than their header promises: {listed(cut)}."
        found.append(blocking("media_truncated", message, "Copy or encode them again.", where, files=cut))
    if decoded.records:
        num_files = sum(len(record.probes) for record in decoded.records)
        found.append(
            info("media_decoded", f"{num_files} sampled media of {where} were decoded.", where, files=num_files)
        )
    return found


def _files_of(scan: Scan, listing: Listing | None, media: Media) -> list[Path]:
    """Return the files of a medium that exist: of a list of frames some, evenly spread, the first and last included."""
    step = max(1, (len(media.files) - 1) // (MAX_DECODED_FRAMES - 1))
    chosen = dict.fromkeys([*media.files[::step], media.files[-1]])
    return [file for name in chosen if (file := _file_of(scan, listing, name))]


def _probe_of(media: Media, files: Sequence[Path], outcomes: Mapping[Path, MediaProbe]) -> MediaProbe | None:
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
        if declared and stated and abs(declared - stated) > RATE_TOLERANCE * stated:
            off[media.name] = {"declared": declared, "container": round(stated, 3)}
    if not off:
        return []
    shown = listed([f"{name} ({rate['declared']:g}, container {rate['container']:g})" for name, rate in off.items()])
    message = f"Sampled clips of {where} declare another video_fps than their container: {shown}."
    fix = "Write the container's rate into video_fps, or keep it when the container is wrong."
    return [warning("video_fps_differs", message, fix, where, files=off)]
