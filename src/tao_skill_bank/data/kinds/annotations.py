"""Annotations and their media: a file of LLaVA records, and the folder or archive that holds what they name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tao_skill_bank.contracts import Finding, Input
from tao_skill_bank.core import locations
from tao_skill_bank.data import archive, media_files, named_headers, overlap, record_findings, sampled_media
from tao_skill_bank.data.kinds import Context, Kind, Place, options_of
from tao_skill_bank.data.media_facts import MediaFacts
from tao_skill_bank.data.named_headers import NamedHeaders
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.data.records.values import RecordRules
from tao_skill_bank.data.sampled_media import Decoded, Probed
from tao_skill_bank.data.scan import Options, Scan, plain_name, scan

ARCHIVE_SECONDS = 120.0
NOTHING_DECODED = Decoded((), ())


@dataclass(frozen=True)
class SeenAnnotations:
    """What the annotation file says, what its archive lists, if it has one, headers of media, and decoded samples."""

    scan: Scan
    listing: archive.Listing | None = None
    headers: NamedHeaders | None = None
    decoded: Decoded = NOTHING_DECODED

    @property
    def input(self) -> Input:
        return self.scan.input

    @property
    def failure(self) -> Finding | None:
        return self.scan.failure

    @property
    def num_usable(self) -> int:
        return self.scan.num_usable

    @property
    def num_media(self) -> int:
        return self.scan.num_media

    @property
    def noun(self) -> str:
        return self.scan.noun

    @property
    def records(self) -> Sequence[Probed]:
        return self.decoded.records


def look(given: Input, context: Context) -> SeenAnnotations:
    """Scan the annotations, of a local copy where they lie in an object store; look at all media, decode samples."""
    path = given.paths["annotation_path"]
    options = options_of(Options, given)
    if path in context.unread:
        return SeenAnnotations(Scan(given, RecordRules(options.conversations_key), context.unread[path]))
    if path in context.local_copies:
        given = replace(given, paths={**given.paths, "annotation_path": context.local_copies[path]})
    found = scan(given, context.required_fields, context.num_samples, options)
    listing = _list_archive(found, context.scratch)
    named = named_headers.look(found, context.pool, context.header_budget, options.skipped_share)
    decoded = sampled_media.decode(found, listing, context.pool, context.decode_seconds, named.is_broken)
    return SeenAnnotations(found, listing, named, decoded)


def check(seen: Sequence[SeenAnnotations], context: Context) -> list[Finding]:
    """Return the findings of every file, then of records that two of them share."""
    return [
        *(finding for each in seen for finding in _check_one(each, context)),
        *overlap.check([each.scan for each in seen]),
    ]


def _check_one(seen: SeenAnnotations, context: Context) -> list[Finding]:
    path, facts = seen.scan.annotation_path, MediaFacts(context.workload.num_frames)
    if seen.headers:
        seen.headers.add_to(facts)
    return [
        *record_findings.check(seen.scan),
        *media_files.check(seen.scan, seen.listing, context.is_stored, context.stored_names),
        *(seen.headers.findings() if seen.headers else []),
        *sampled_media.check(path, seen.decoded, facts),
    ]


def _list_archive(found: Scan, scratch: Path) -> archive.Listing | None:
    path = Path(found.media_path)
    if found.failure or not locations.is_archive(found.media_path) or not path.is_file():
        return None
    samples = sampled_media.samples_of(found)
    key = found.rules.conversations_key
    wanted = {plain_name(name) for sample in samples for media in media_of(sample.record, key) for name in media.files}
    target = scratch / str(len(list(scratch.iterdir())))
    target.mkdir()
    return archive.read(path, wanted, target, ARCHIVE_SECONDS)


KIND = Kind(
    title="data",
    options=Options,
    paths={
        "annotation_path": Place("file", is_index=True),
        "media_path": Place("folder", named_in="annotation_path"),
    },
    look=look,
    check=check,
    media_folders=("media_path",),
)
