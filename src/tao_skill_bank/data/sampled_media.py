"""Decodes sampled media under a timeout and compares them with what the records and the spec say."""

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import locations
from tao_skill_bank.core.findings import blocking, from_error, info, listed, not_checked
from tao_skill_bank.data import probing
from tao_skill_bank.data.archive import Listing
from tao_skill_bank.data.headers import MediaFile
from tao_skill_bank.data.media_facts import MediaFacts
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.data.records.values import Media, MediaKind
from tao_skill_bank.data.scan import Sample, Scan, plain_name
from tao_skill_bank.errors import BlockedError, MissingExtraError

KINDS: tuple[MediaKind, ...] = ("video", "image")
MAX_DECODED_FRAMES = 16  # of one list of frames


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


def decode(
    scan: Scan,
    listing: Listing | None,
    pool: Executor,
    timeout_seconds: float,
    is_broken: Callable[[MediaFile], bool] = lambda _: False,
) -> Decoded:
    """Decode the media of the sampled records.

    Other checks report files that do not exist, and those that are broken, which are not decoded.
    """
    if scan.failure or locations.is_uri(scan.media_path):
        return Decoded((), ())
    samples = samples_of(scan)
    media_of_samples = [media_of(sample.record, scan.rules.conversations_key) for sample in samples]
    places = [[_files_of(scan, listing, media) for media in each] for each in media_of_samples]
    users: dict[File, list[int]] = {}
    for sample, files_of_media in zip(samples, places, strict=True):
        for file in dict.fromkeys(file for files in files_of_media for file in files):
            users.setdefault(file, []).append(sample.index)
    wanted = {file: records for file, records in users.items() if not is_broken(MediaFile(file.kind, str(file.path)))}
    outcomes, findings = decode_files(wanted, pool, timeout_seconds)
    records = []
    for sample, media, files_of_media in zip(samples, media_of_samples, places, strict=True):
        for item, files in zip(media, files_of_media, strict=True):
            if listing:  # else the headers of all of them are compared
                probes_known = [outcomes[file] for file in files if file in outcomes]
                findings += _differing_sizes(item, sample.index, probes_known)
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


def check(where: str, decoded: Decoded, facts: MediaFacts) -> list[Finding]:
    """Return the findings on decoded media; `facts` holds what is known of other media of the dataset."""
    shown = [pair for record in decoded.records for pair in zip(record.media, record.probes, strict=True)]
    for media, probe in shown:
        if media.kind == "image":
            facts.add_picture(media.name, is_animated=probe.is_animated)
        else:
            frames = probe.num_frames if media.indices is None else sys.maxsize
            what = (frames, probe.container_fps, media.rate)
            facts.add_clip(media.name, *what, is_variable=probe.has_variable_rate)
    found = [*decoded.findings, *facts.findings(where)]
    cut = [media.name for media, probe in shown if media.kind == "video" and not probe.is_whole]
    if cut:
        message = f"Clips of {where} hold fewer frames that can be decoded than their header promises: {listed(cut)}."
        found.append(blocking("media_truncated", message, "Copy or encode them again.", where, files=cut))
    if decoded.records:
        message = f"{len(shown)} sampled media of {where} were decoded."
        found.append(info("media_decoded", message, where, files=len(shown)))
    return found


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
