"""Reads the rows to embed in loader processes, and plans their batches by tokens."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.data.records.values import Media
from tao_skill_bank.errors import BlockedError, MissingExtraError, Problem, TaoSkillsError
from tao_skill_bank.models.cosmos_reason import feature_file, loader, questions
from tao_skill_bank.models.cosmos_reason.conversation import Conversation, text_of
from tao_skill_bank.models.cosmos_reason.data import Records
from tao_skill_bank.models.cosmos_reason.embedding.rows import Row
from tao_skill_bank.models.cosmos_reason.media import Features, Frames
from tao_skill_bank.models.cosmos_reason.rank_assignment import Batch
from tao_skill_bank.models.cosmos_reason.record_tokens import text_tokens, video_layout_of
from tao_skill_bank.models.cosmos_reason.tokens import image_tokens
from tao_skill_bank.models.cosmos_reason.vision import CHANNELS, patchify
from tao_skill_bank.training import bad_samples
from tao_skill_bank.training.distributed import Ranks

MOST_ROWS = 256  # of a batch, however short they are
PREFETCHED_BATCHES = 2
HEADER_READERS = 8


@dataclass(frozen=True)
class Unreadable:
    """A row that cannot be read, which the spec allows to leave out."""

    position: int
    problem: Problem


@dataclass(frozen=True)
class Loaded:
    """A batch for the encoder, None where none of its rows can be read."""

    positions: tuple[int, ...]
    content: Any
    failed: tuple[Unreadable, ...] = ()

    def pin_memory(self) -> "Loaded":
        content = None if self.content is None else self.content.pin_memory()
        return Loaded(self.positions, content, self.failed)


@dataclass(frozen=True)
class Source:
    """Decodes rows by their position.

    Attributes:
        max_length: of a prompt in tokens.
        features: cached features of media, which are not decoded.
        skips: rows that cannot be read are returned as unreadable instead of raising.

    """

    records: Records
    rows: Sequence[Row]
    max_length: int
    features: Mapping[Media, Path]
    skips: bool

    def __getitem__(self, position: int) -> tuple[int, Any] | Unreadable:
        try:
            return position, bad_samples.read(self._read, (position,))[0]
        except BlockedError as error:
            if not self.skips or isinstance(error, MissingExtraError):
                raise
            return Unreadable(position, error.problems[0])

    def _read(self, position: int) -> Any:
        row = self.rows[position]
        media = self._media(row)
        if row.prompt is None:
            (frames,) = media
            geometry = self.records.processor.pixel_format.geometry
            return patchify(frames.pixels, geometry), frames.grid(geometry)  # type: ignore[union-attr] # features of clips alone are pooled before
        return self.records.processor.encode(row.prompt, media, max_length=self.max_length, answer=True)

    def _media(self, row: Row) -> Sequence[Frames | Features]:
        files = [self.features[item] for item in row.media if item in self.features]
        if files and len(files) == len(row.media):
            return [feature_file.read(file) for file in files]
        return self.records.frames(Conversation(row.name, (), row.media))


@dataclass(frozen=True)
class Collate:
    """Makes a batch of what could be read."""

    join: Callable[[Sequence[Any]], Any]

    def __call__(self, found: Sequence[tuple[int, Any] | Unreadable], counted: Sequence[bool] = ()) -> Loaded:  # noqa: ARG002 - the signature of collate functions
        failed = tuple(each for each in found if isinstance(each, Unreadable))
        read = [each for each in found if not isinstance(each, Unreadable)]
        content = self.join([content for _, content in read]) if read else None
        return Loaded(tuple(position for position, _ in read), content, failed)


def batches_of(
    source: Source, order: Sequence[Batch], join: Callable[[Sequence[Any]], Any], num_processes: int, batch_tokens: int
) -> Iterable[Loaded]:
    """Return the loader of some batches: processes decode clips; threads suffice where all features are cached."""
    slots = [[loader.Slot(position) for position in batch] for batch in order]
    workers = loader.Workers(num_processes, PREFETCHED_BATCHES)
    shown = [item for batch in order for position in batch for item in source.rows[position].media]
    if shown and all(item in source.features for item in shown):
        return loader.ReadAhead(source, slots, workers, Collate(join))
    geometry = source.records.processor.pixel_format.geometry
    token_bytes = CHANNELS * geometry.temporal_patch_size * geometry.factor**2
    workers = workers.bounded(batch_tokens * token_bytes).worthwhile(len(order))
    return loader.Batches(source, slots, workers, Collate(join))


def lengths(records: Records, rows: Sequence[Row], ranks: Ranks) -> list[int]:
    """Return the predicted tokens of every row, by the headers of its media; 0 where they cannot be read."""
    own = range(ranks.rank, len(rows), ranks.world)
    with ThreadPoolExecutor(HEADER_READERS) as pool:
        found = dict(zip(own, pool.map(lambda position: _length(records, rows[position]), own), strict=True))
    known = {position: length for part in ranks.gather(found) for position, length in part.items()}
    return [known[position] for position in range(len(rows))]


def batches(lengths: Sequence[int], budget: int) -> list[Batch]:
    """Return the positions of `lengths` in batches of at most `budget` tokens, unless a row alone has more.

    The longest come first, so that a lack of memory shows at once; clips of one length often have frames of one size.
    """
    made: list[Batch] = []
    batch: list[int] = []
    total = 0
    for position in sorted(range(len(lengths)), key=lambda position: (-lengths[position], position)):
        if batch and (total + lengths[position] > budget or len(batch) == MOST_ROWS):
            made.append(tuple(batch))
            batch, total = [], 0
        batch.append(position)
        total += lengths[position]
    return [*made, tuple(batch)] if batch else made


def _length(records: Records, row: Row) -> int:
    try:
        messages = row.prompt.messages if row.prompt else ()
        text = sum(text_tokens(text_of(message)) for message in messages)
        return text + sum(_vision_tokens(records, item) for item in row.media)
    except (TaoSkillsError, OSError, ValueError, ArithmeticError, LookupError):
        return 0


def _vision_tokens(records: Records, item: Media) -> int:
    geometry, vision = records.processor.pixel_format.geometry, records.presentation.vision
    header = questions.header_of(records.folder, item)
    if item.kind == "image":
        return image_tokens(vision, width=header.width, height=header.height, geometry=geometry)
    times, per_group = video_layout_of(vision, item, header, geometry)
    return len(times) * per_group
