"""The headers of all media that the records of an annotation file name, where these are files on this machine."""

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import hashes, locations
from tao_skill_bank.core.findings import MAX_LISTED, blocking, listed, not_checked
from tao_skill_bank.data import header_findings, headers
from tao_skill_bank.data.header_findings import BY_JOB, Named
from tao_skill_bank.data.headers import Budget, Look, MediaFile
from tao_skill_bank.data.media_facts import MediaFacts
from tao_skill_bank.data.scan import Scan
from tao_skill_bank.errors import BlockedError, MissingExtraError

SKIPPED = "Else their records are skipped, as the spec says."


@dataclass(frozen=True)
class NamedHeaders:
    """What was found of the media that a scan names.

    Attributes:
        broken: the files that cannot be used, and why.
        seconds: the budget.
        skipped_share: that of `scan.Options`.

    """

    scan: Scan
    found: Look
    broken: dict[MediaFile, BlockedError]
    seconds: float = 0
    skipped_share: float = 0

    def is_broken(self, file: MediaFile) -> bool:
        """Return whether a file need not be decoded, because its header says that it cannot be used."""
        return file in self.broken

    def findings(self) -> list[Finding]:
        """Return the findings on files that cannot be used, and on those that were not looked at."""
        where = self.scan.annotation_path
        if locations.is_archive(self.scan.media_path) and self.scan.media and not self.scan.failure:
            message = f"Of the media in {self.scan.media_path} only samples were looked at; {BY_JOB}."
            fix = "Unpack it and give the folder, to have all of them looked at before the launch."
            return [not_checked("headers_not_read", message, fix, self.scan.media_path)]
        unusable = header_findings.unusable(where, self.broken, self._named)
        if unusable and self._num_bad_records() <= self.skipped_share * self.scan.num_records:
            unusable = [replace(finding, severity="warning", fix=f"{finding.fix} {SKIPPED}") for finding in unusable]
        return [*unusable, *self._differing_sizes(where), *header_findings.left(where, self.found, self.seconds)]

    def _differing_sizes(self, where: str) -> list[Finding]:
        """Return the finding on lists of frames that are not all of one size, which the trainer refuses."""
        scan, bounds = self.scan, self.scan.frame_lists
        if not bounds:
            return []
        headers = self.found.headers.items()
        sizes = {hash(file.path): (header.width, header.height) for file, header in headers if file.kind == "image"}
        records: list[int] = []
        example: dict[tuple[int, int], None] = {}
        for start, stop in zip(bounds[::2], bounds[1::2], strict=True):
            found = dict.fromkeys(sizes[name] for name in scan.media[start:stop] if name in sizes)
            if len(found) > 1:
                example = example or found
                records.append(scan.media_records[start])
        if not records:
            return []
        shown = listed([f"{width}x{height}" for width, height in example])
        message = f"Frames of one clip in {where} have different sizes (record {listed(records)})"
        message += f"; in record {records[0]}: {shown}."
        fix = "Write all frames of a clip in one size."
        evidence = {"records": records[:MAX_LISTED], "count": len(records)}
        return [blocking("frame_sizes_differ", message, fix, where, **evidence)]

    def _num_bad_records(self) -> int:
        """Return how many records show a file that cannot be used."""
        bad = array("q", [hash(file.path) for file in self.broken])
        positions = hashes.positions_in(self.scan.media, bad, present=True)
        return hashes.first_distinct((self.scan.media_records[position] for position in positions), 0)[1]

    def add_to(self, facts: MediaFacts) -> None:
        """Add what usable headers say."""
        rates, usual = self._declared_rates()
        for file, header in self.found.headers.items():
            if file in self.broken:
                continue
            if file.kind == "image":
                if header.is_animated:
                    facts.add_picture(self._name(file), is_animated=True)
                continue
            for declared in rates.get(hash(file.path), usual):
                what = (header.num_frames, header.rate, declared)
                facts.add_clip(self._name(file), *what, is_variable=header.is_variable)

    def _declared_rates(self) -> tuple[dict[int, list[float]], list[float]]:
        """Return the different rates that records give each clip, by the hash of its path, or the one of all clips."""
        if len(different := set(self.scan.rates)) < 2:
            return {}, list(different)
        rates: dict[int, list[float]] = {}
        for media, rate in set(zip(self.scan.media, self.scan.rates, strict=True)):
            rates.setdefault(media, []).append(rate)
        return rates, []

    def _named(self, files: Sequence[MediaFile]) -> dict[MediaFile, Named]:
        wanted = array("q", [hash(file.path) for file in files])
        records: dict[int, list[int]] = {}
        for position in hashes.positions_in(self.scan.media, wanted, present=True):
            of_file = records.setdefault(self.scan.media[position], [])
            if len(of_file) < MAX_LISTED:
                of_file.append(self.scan.media_records[position])
        return {file: Named(self._name(file), records.get(hash(file.path), ())) for file in files}

    def _name(self, file: MediaFile) -> str:
        return file.path.removeprefix(f"{self.scan.media_root}/")


def look(scan: Scan, pool: Executor, budget: Budget, skipped_share: float = 0) -> NamedHeaders:
    """Read the headers of the media that are files here; another check reports those that are not there.

    Without a decoder there are none: the check of the samples says so.
    """
    if scan.failure or locations.is_uri(scan.media_path):
        return NamedHeaders(scan, Look(), {})
    try:
        found = headers.look(sorted(_files(scan)), pool, budget)
    except MissingExtraError:
        return NamedHeaders(scan, Look(), {})
    return NamedHeaders(scan, found, header_findings.errors(found), budget.seconds, skipped_share)


def _files(scan: Scan) -> Iterator[MediaFile]:
    """Yield the files in the folders of a scan that its records name; their paths have the hashes of the scan."""
    positions = set(scan.pictures)
    pictures = {scan.media[position] for position in positions}
    clips = {value for position, value in enumerate(scan.media) if position not in positions}
    for path in _in_folders(scan.folders):
        if hash(path) in clips:
            yield MediaFile("video", path)
        if hash(path) in pictures:
            yield MediaFile("image", path)


def _in_folders(folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        try:
            with os.scandir(folder or "/") as entries:
                yield from [f"{folder}/{entry.name}" for entry in entries if entry.is_file()]
        except OSError:
            continue  # its files are reported as missing
