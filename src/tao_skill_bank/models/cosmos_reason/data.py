"""The dataset: records of an annotation file, split by id, decoded and encoded one by one, cached after decoding."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from tao_skill_bank.core import settings, unfinished
from tao_skill_bank.data.annotations import load_records
from tao_skill_bank.data.headers import MediaFile
from tao_skill_bank.data.records.reader import media_of, record_name
from tao_skill_bank.data.records.values import Media, MediaKind
from tao_skill_bank.errors import BlockedError, Problem, TaoSkillsError
from tao_skill_bank.models.cosmos_reason import conversation, feature_file, media
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import Conversation
from tao_skill_bank.models.cosmos_reason.media_store import open_media
from tao_skill_bank.models.cosmos_reason.processor import Processor, Sample
from tao_skill_bank.training.bad_samples import Skip
from tao_skill_bank.training.held_out import held_out_names

Record = dict[str, Any]
CACHE_FREE_BYTES = 10 * 2**30  # the cache stops growing below this free disk space


@dataclass(frozen=True)
class Presentation:
    """How records are presented to the model.

    Attributes:
        conversations_key: annotation key of the turns.
        cache: cache decoded and resized clips in $TAO_STATE_DIR/cache/clips.

    """

    vision: VideoSampling
    max_length: int
    system_prompt: str = ""
    conversations_key: str = "conversations"
    cache: bool = False


class Records(Dataset[Sample]):
    """Encoded records. Errors that a user can fix are raised as TaoSkillsError and name the record."""

    def __init__(
        self, records: Sequence[Record], media_path: str, processor: Processor, presentation: Presentation
    ) -> None:
        if not records:
            raise BlockedError.of("no_records", "The dataset has no records.", "Give records with conversations.")
        self.records = records
        self.processor = processor
        self.presentation = presentation
        shown = {item for record in records for item in media_of(record, presentation.conversations_key)}
        self.folder = open_media(media_path, sorted({name for item in shown for name in item.files}))
        self.kinds = frozenset(item.kind for item in shown)
        self.features: Mapping[Media, Path] = {}  # see feature_cache.fill
        self.unreadable: Mapping[Media, Problem] = {}  # media without features, and why

    def __len__(self) -> int:
        return len(self.records)

    def files(self) -> dict[MediaFile, str]:
        """Return every media file, each with the name of the first record that shows it."""
        found: dict[MediaFile, str] = {}
        for index, record in enumerate(self.records):
            for item in media_of(record, self.presentation.conversations_key):
                kind: MediaKind = "image" if item.frames else item.kind
                for name in item.files:
                    found.setdefault(MediaFile(kind, str(self.folder / name)), record_name(record, index))
        return found

    def __getitem__(self, index: int) -> Sample:
        shown = self.conversation(index)
        return self.processor.encode(shown, self.frames(shown), max_length=self.presentation.max_length)

    def conversation(self, index: int) -> Conversation:
        how = self.presentation
        return conversation.parse(
            self.records[index], index, key=how.conversations_key, system_prompt=how.system_prompt
        )

    def frames(self, shown: Conversation) -> list[media.Frames | media.Features]:
        """Return a conversation's media: cached features if available, else frames, decoded or from the cache."""
        if self.features:
            self._require_readable(shown)
            return [feature_file.read(self.features[item]) for item in shown.media]
        try:
            return [self.decode(item) for item in shown.media]
        except TaoSkillsError as error:
            raise _in_record(error, shown.record_id) from None

    def _require_readable(self, shown: Conversation) -> None:
        for item in shown.media:
            if problem := self.unreadable.get(item):
                raise _in_record(BlockedError([problem]), shown.record_id)

    def known_bad(self) -> list[Skip]:
        """Return the records whose media could not be read when features were cached."""
        found = []
        for index in range(len(self)):
            try:
                self._require_readable(self.conversation(index))
            except BlockedError as error:
                problem = error.problems[0]
                found.append(Skip(index, problem.code, problem.message, problem.path))
        return found

    def decode(self, item: Media) -> media.Frames:
        """Return the frames of a medium, from the cache of decoded clips if available."""
        if not self.presentation.cache:
            return self._decode(item)
        file = self._cache_file(item)
        if not file.is_file():
            frames = self._decode(item)
            _write_cached(file, frames)
            return frames
        pixels, timestamps = torch.load(file, weights_only=True)
        return media.Frames(pixels, tuple(timestamps))

    def _decode(self, item: Media) -> media.Frames:
        geometry = self.processor.pixel_format.geometry
        path, vision = self.folder / item.name, conversation.sampling_of(self.presentation.vision, item)
        if item.kind == "image":
            return media.read_image(path, vision, geometry=geometry)
        if not item.frames:
            return media.read_video(path, vision, frames_per_second=item.rate, geometry=geometry)
        paths = [self.folder / name for name in item.frames]
        return media.read_frames(paths, vision, frames_per_second=item.rate, indices=item.indices, geometry=geometry)

    def _cache_file(self, item: Media) -> Path:
        """Return the cache file of a clip, keyed by everything that determines its pixels."""
        identity = {
            "files": [_file_identity(self.folder / name) for name in item.files],
            "kind": item.kind,
            "video_fps": item.rate,
            "indices": item.indices,
            "vision": asdict(conversation.sampling_of(self.presentation.vision, item)),
            "geometry": asdict(self.processor.pixel_format.geometry),
        }
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return settings.state_dir() / "cache" / "clips" / key[:2] / f"{key}.pt"


def read_annotations(path: str) -> list[Record]:
    """Return the records of an annotation file. Raises BlockedError when one is not an object."""
    records = load_records(Path(path))
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            message = f"Record #{index} of {path} is not an object."
            raise BlockedError.of("bad_record", message, "Write records as JSON objects.", path=path)
    return records


def split_by_id(records: Sequence[Record], test_size: float, seed: int) -> tuple[list[Record], list[Record]]:
    """Split records into training and validation by a hash of seed and record id.

    The order of the file does not matter, and records that share an id stay together.

    Args:
        records: all records.
        test_size: a ratio below 1, or a count of validation records.
        seed: determines the split.

    Raises:
        BlockedError: one side would be empty.

    """
    names = [record_name(record, index) for index, record in enumerate(records)]
    chosen = held_out_names(names, test_size, seed, spec_path="train.train_policy.dataset.test_size")
    held_out = [record for name, record in zip(names, records, strict=True) if name in chosen]
    kept = [record for name, record in zip(names, records, strict=True) if name not in chosen]
    return kept, held_out


def _file_identity(path: Path) -> tuple[str, int | None, int | None]:
    status = path.stat() if path.is_file() else None
    return str(path.resolve()), status.st_size if status else None, status.st_mtime_ns if status else None


def _write_cached(file: Path, frames: media.Frames) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(file.parent).free < CACHE_FREE_BYTES:
        return
    work = unfinished.next_to(file)
    torch.save((frames.pixels, list(frames.timestamps)), work)
    work.replace(file)


def _in_record(error: TaoSkillsError, record_id: str) -> TaoSkillsError:
    problem = error.problems[0]
    message = f"Record {record_id}: {problem.message}"
    return BlockedError.of(problem.code, message, problem.fix, path=problem.path or record_id)
