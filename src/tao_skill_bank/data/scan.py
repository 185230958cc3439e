"""Streams an annotation file once and keeps what the checks need: tallies, hashes and a few sample records."""

import itertools
import math
import os
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tao_skill_bank.contracts import Finding, Input, contract
from tao_skill_bank.core import findings, hashes, locations
from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.data.records import reader
from tao_skill_bank.data.records.census import Census
from tao_skill_bank.data.records.usual import UNUSUAL, UsualRecords
from tao_skill_bank.data.records.values import Media, RecordIssue, RecordRules
from tao_skill_bank.errors import BlockedError


@contract
class Options:
    """How records are read.

    Attributes:
        conversations_key: where their turns are.
        reserved_tokens: texts that the model's chat template writes, which no text of a record may contain.
        skipped_share: of the records that the action skips where their media cannot be read; more of them block.
        needs_turns: whether every record needs a conversation.

    """

    conversations_key: str = "conversations"
    reserved_tokens: tuple[str, ...] = ()
    skipped_share: float = 0.0
    needs_turns: bool = True


ANSWERED = ("train", "eval", "calibration")  # roles whose records are learned from, scored or measured by their answers


@dataclass(frozen=True)
class Sample:
    """A record kept for decoding and token prediction."""

    index: int
    record: Mapping[str, Any]


@dataclass
class Tally:
    """How many records have one issue, which of them come first, and the issue of the first one."""

    example: RecordIssue
    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, index: int) -> None:
        self.count += 1
        if len(self.first) < findings.MAX_LISTED:
            self.first.append(index)


@dataclass
class Scan:
    """What one pass over an annotation file found.

    Attributes:
        input: the annotations and their media.
        rules: what its records must hold.
        failure: why the file could not be read to its end, if so.
        num_further_frames: files of lists of frames but for the first of each.
        frame_lists: where in `media` every different list of frames begins and ends, one after the other.
        num_usual, first_usual: records that the quick look has passed, and the first of them.
        issues: code (`video_fps_missing`, `answer_missing`, ...) to the records that have the issue.
        census: keys that nobody reads, and how turns are written.
        ids: hash of every record's id, in the order of the file.
        media, media_records: hash of every media path and the record that names it.
        rates: frames per second that the record gives each of them; 0 for none, and for pictures.
        pictures: positions in `media` of files that are read as pictures: those of images and of lists of frames.
        folders: folders (or archive folders) of those paths, as written.
        longest: the record with the most text.

    """

    input: Input
    rules: RecordRules = field(default_factory=RecordRules)
    failure: Finding | None = None
    num_records: int = 0
    num_usable: int = 0
    num_videos: int = 0
    num_remote_media: int = 0
    num_further_frames: int = 0
    num_usual: int = 0
    first_usual: int = 0
    issues: dict[str, Tally] = field(default_factory=dict)
    census: Census = field(default_factory=Census)
    ids: "array[int]" = field(default_factory=hashes.new)
    media: "array[int]" = field(default_factory=hashes.new)
    media_records: "array[int]" = field(default_factory=lambda: array("L"))
    rates: "array[float]" = field(default_factory=lambda: array("f"))
    pictures: "array[int]" = field(default_factory=lambda: array("L"))
    frame_lists: "array[int]" = field(default_factory=lambda: array("L"))
    folders: set[str] = field(default_factory=set)
    samples: tuple[Sample, ...] = ()
    longest: Sample | None = None

    @property
    def annotation_path(self) -> str:
        return self.input.paths["annotation_path"]

    @property
    def media_path(self) -> str:
        return self.input.paths["media_path"]

    @property
    def num_media(self) -> int:
        """Different media that the records name; a list of frames is one."""
        return max(0, len(self.media) - len(hashes.repeated(self.media)) - self.num_further_frames)

    @property
    def noun(self) -> str:
        return "records"

    @property
    def media_root(self) -> str:
        """Return what media names are appended to: a folder, an archive or a URI, so that equal names differ by it."""
        path = self.media_path
        return path.rstrip("/") if locations.is_uri(path) else os.path.realpath(path)

    def path_of(self, name: str) -> str:
        """Return the path that is hashed for a media name."""
        return path_under(self.media_root, name)


def scan(given: Input, required_fields: tuple[str, ...], num_samples: int, options: Options | None = None) -> Scan:
    """Read the whole annotation file of an input in constant memory. One that cannot be read is a `failure`."""
    options = options or Options()
    needs_answer = given.role in ANSWERED
    rules = RecordRules(
        options.conversations_key, required_fields, needs_answer, options.reserved_tokens, options.needs_turns
    )
    result = Scan(given, rules)
    path = result.annotation_path
    if locations.is_uri(path):
        message = f"Annotations {path} are not on this machine."
        fix = "Give their folder as a local path to have them checked before the launch."
        result.failure = findings.not_checked("annotation_remote", message, fix, path)
        return result
    scanner = _Scanner(result, num_samples)
    try:
        scanner.take(stream_records(Path(path)))
    except BlockedError as error:
        scanner.result.failure = findings.from_error(error)[0]
    return scanner.finish()


class _Scanner:
    """Takes in records. The usual ones cost a microsecond or two each."""

    def __init__(self, result: Scan, num_samples: int) -> None:
        self.result = result
        self._usual = UsualRecords(result.rules)
        self._clips_of_frames: set[int] = set()
        self._root = result.media_root
        self._samples = _EvenSamples(num_samples)
        self._longest_length = -1

    def take(self, records: Iterable[Any]) -> None:
        """Take in every record of a file."""
        result, root = self.result, self._root
        usual_length, offer = self._usual.length, self._samples.offer
        for index, record in enumerate(records):
            result.num_records = index + 1
            length = usual_length(record)
            if length == UNUSUAL:
                length = self._take_unusual(record, index)
            else:
                if not result.num_usual:
                    result.first_usual = index
                identity, name = record["id"], record["video"]
                if "./" in name or "//" in name:
                    name = plain_name(name)
                path = name if name[0] == "/" else f"{root}/{name}"
                result.ids.append(hash(identity if isinstance(identity, str) else str(identity)))
                result.media.append(hash(path))
                result.media_records.append(index)
                result.rates.append(record.get("video_fps") or 0)
                result.folders.add(path.rpartition("/")[0])
                result.num_videos += 1
                result.num_usual += 1
                offer(index, record)
            if length > self._longest_length:
                self._longest_length = length
                result.longest = Sample(index, record)

    def finish(self) -> Scan:
        """Return the result with its samples chosen."""
        self.result.samples = self._samples.chosen()
        self.result.num_usable += self.result.num_usual
        self.result.census.add_shapes(self._usual.shapes, self.result.rules)
        return self.result

    def _take_unusual(self, raw: Any, index: int) -> int:
        result = self.result
        record, issues = reader.examine(raw, result.rules)
        result.ids.append(hash((id(self), index)) if record.id is None else hash(record.id))
        for code, issue in {issue.code: issue for issue in reversed(issues)}.items():
            result.issues.setdefault(code, Tally(issue)).add(index)
            result.num_remote_media += code == "media_address"
        if not isinstance(raw, dict):
            return UNUSUAL
        if record.id is None:
            result.issues.setdefault("id_missing", Tally(RecordIssue("id_missing"))).add(index)
        for media in record.media:
            self._take_media(media, index)
        result.num_videos += any(media.kind == "video" for media in record.media)
        result.census.add(record, raw, index)
        if record.media:
            self._samples.offer(index, raw)
        result.num_usable += not issues
        return record.num_characters

    def _take_media(self, media: Media, index: int) -> None:
        if media.frames and hash(media.frames) not in self._clips_of_frames:
            self._clips_of_frames.add(hash(media.frames))
            self.result.num_further_frames += len(set(media.frames)) - 1
            start = len(self.result.media)
            self.result.frame_lists.extend((start, start + len(media.frames)))
        is_picture = bool(media.frames) or media.kind == "image"
        for name in media.files:
            path = path_under(self._root, name)
            if is_picture:
                self.result.pictures.append(len(self.result.media))
            self.result.rates.append(0 if is_picture else media.rate or 0)
            self.result.media.append(hash(path))
            self.result.media_records.append(index)
            self.result.folders.add(path.rpartition("/")[0])


def plain_name(name: str) -> str:
    """Return a media name without `.` parts and doubled slashes, as archives list it."""
    return str(PurePosixPath(name)) if "./" in name or "//" in name else name


def path_under(root: str, name: str) -> str:
    """Return the path of a media name; absolute names stay as they are."""
    name = plain_name(name)
    return name if name[:1] == "/" else f"{root}/{name}"


def records_at(annotation_path: str, indices: Iterable[int]) -> dict[int, Any]:
    """Return the records at some positions of a readable annotation file, reading no further than the last one."""
    wanted = set(indices)
    last = max(wanted, default=-1)
    stream = itertools.islice(enumerate(stream_records(Path(annotation_path))), last + 1)
    return {index: record for index, record in stream if index in wanted}


class _EvenSamples:
    """Keeps records that are evenly spread over a stream of unknown length."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._stride = 1
        self._num_offered = 0
        self._kept: list[Sample] = []

    def offer(self, index: int, record: Mapping[str, Any]) -> None:
        if self._num_offered % self._stride == 0:
            self._kept.append(Sample(index, record))
            if len(self._kept) > 2 * self._limit:
                self._kept = self._kept[::2]
                self._stride *= 2
        self._num_offered += 1

    def chosen(self) -> tuple[Sample, ...]:
        count = min(self._limit, len(self._kept))
        last = len(self._kept) - 1
        positions = {math.floor(i * last / max(1, count - 1)) for i in range(count)}
        return tuple(self._kept[position] for position in sorted(positions))
