"""Assigns records to batches and ranks, and collates samples into batches."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from tao_skill_bank.bank.step_limit import EpochEnd
from tao_skill_bank.core import settings
from tao_skill_bank.errors import BlockedError, Problem, TaoSkillsError
from tao_skill_bank.models.cosmos_reason.positions import Grid
from tao_skill_bank.models.cosmos_reason.processor import IGNORED, Processor, Sample
from tao_skill_bank.models.cosmos_reason.reserved_tokens import PADS
from tao_skill_bank.models.cosmos_reason.vision import normalize
from tao_skill_bank.training import bad_samples, distributed, interruption
from tao_skill_bank.training.bad_samples import SUBSTITUTES, Skip, SkipLog

MAX_THREADS, BATCHES_PER_THREAD = 4, 2  # features of a clip are 130 MB for an 8B
BATCHES_PER_PROCESS = 8  # starting a process takes some 3 s of CPU
TIMEOUT_SECONDS = 600  # a loader process without output for this long hangs on a broken file
MODEL_KEYS = {"video": ("pixel_values_videos", "video_grid_thw"), "image": ("pixel_values", "image_grid_thw")}


T = TypeVar("T")


class Source(Protocol):
    """Anything that returns the sample, or other item to collate, at an index."""

    def __getitem__(self, index: int) -> Any: ...


@dataclass(frozen=True)
class Slot:
    """A place in a batch.

    Attributes:
        index: of its record.
        counts: whether its answer counts: False marks filler samples in validation.
        substitutes: records that are tried in its place, in order, when it cannot be read.

    """

    index: int
    counts: bool = True
    substitutes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Padded samples as inputs of transformers' forward and generate.

    Attributes:
        inputs: int64 ids, mask and token types of shape (batch, length), uint8 patches of shape (patches, values) and
            int64 grids of shape (media, 3).
        labels: int64 of shape (batch, length), -100 for ignored tokens.

    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, for asynchronous copies to the GPU."""
        pinned = {key: value.pin_memory() for key, value in self.inputs.items()}
        return Batch(pinned, self.labels.pin_memory())


@dataclass(frozen=True)
class Padding:
    """How samples are padded: on the left to generate, on the right to compute a loss."""

    processor: Processor
    side: Literal["left", "right"] = "right"

    def __call__(self, samples: Sequence[Sample], counted: Sequence[bool] = ()) -> Batch:  # noqa: ARG002
        return collate(samples, self)


def collate(samples: Sequence[Sample], padding: Padding) -> Batch:
    """Pad samples into one batch."""
    processor, side = padding.processor, padding.side
    length = max(len(sample.input_ids) for sample in samples)
    shape = (len(samples), length)
    pad = processor.tokenizer.pad_token_id
    ids = torch.full(shape, pad if pad is not None else 0)
    labels = torch.full(shape, IGNORED)
    mask, types = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for row, sample in enumerate(samples):
        size = len(sample.input_ids)
        where = slice(length - size, length) if side == "left" else slice(0, size)
        ids[row, where], mask[row, where] = sample.input_ids, 1
        types[row, where] = sample.token_types
        labels[row, where] = sample.labels
    inputs = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": types}
    for kind, (pixels_key, grid_key) in MODEL_KEYS.items():
        parts = [part for sample in samples for part in _media_of(sample, kind)]
        if parts:
            inputs[pixels_key] = torch.cat([patches for patches, _ in parts])
            inputs[grid_key] = torch.tensor([grid for _, grid in parts])
    return Batch(inputs, labels)


def _media_of(sample: Sample, kind: str) -> list[tuple[torch.Tensor, Grid]]:
    """Return patches and grid of all media of a kind."""
    if sample.patches is None:
        return []
    parts = torch.split(sample.patches, [math.prod(grid) for grid in sample.grids])
    found = zip(sample.kinds, parts, sample.grids, strict=True)
    return [(patches, grid) for its_kind, patches, grid in found if its_kind == kind]


def to_device(batch: Batch, device: torch.device, processor: Processor) -> Batch:
    """Return the batch on `device`, with its patches as normalized float32."""
    inputs = {key: value.to(device, non_blocking=True) for key, value in batch.inputs.items()}
    for pixels_key, _ in MODEL_KEYS.values():
        if pixels_key in inputs:
            inputs[pixels_key] = normalize(inputs[pixels_key], processor.pixel_format)
    return Batch(inputs, batch.labels.to(device, non_blocking=True))


class TrainingOrder(Sampler[list[Slot]]):
    """Micro-batches of one rank: every step takes the next D x batch records of a per-epoch permutation.

    A step's records are sharded over the ranks, so they do not depend on the number of ranks. With a log of skips, a
    record that it names gives its place to the next one of the rank's epoch, and every slot has such substitutes.
    """

    def __init__(
        self,
        num_records: int,
        *,
        ranks: tuple[int, int],
        batch: int,
        micro_batch: int,
        seed: int,
        skips: SkipLog | None = None,
    ) -> None:
        self.num_records, self.skips = num_records, skips
        self.rank, self.world = ranks
        self.batch, self.micro_batch, self.seed = batch, micro_batch, seed
        self.epoch = 0
        self.first_step = 0  # of the epoch; above 0 when resuming within an epoch
        self.end_step: int | None = None  # of the epoch; below its number of steps when the training ends within it

    def begin(self, end: EpochEnd, step: int) -> None:
        """Continue after a step of the training up to the end of its epoch."""
        self.epoch, self.end_step = end.epoch, end.num_steps
        self.first_step = step - (end.epoch - 1) * self.num_steps

    @property
    def num_steps(self) -> int:
        """Steps per epoch; the remaining records are dropped per epoch."""
        return steps_per_epoch(self.num_records, world=self.world, batch=self.batch)

    def __len__(self) -> int:
        return (self._end - self.first_step) * (self.batch // self.micro_batch)

    @property
    def _end(self) -> int:
        return self.num_steps if self.end_step is None else self.end_step

    def __iter__(self) -> Iterator[list[Slot]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.num_records, generator=generator).tolist()
        starts = [(step * self.world + self.rank) * self.batch for step in range(self.num_steps)]
        own = [index for start in starts for index in order[start : start + self.batch]]
        for first in range(self.first_step * self.batch, self._end * self.batch, self.micro_batch):
            yield [self._slot(own, place) for place in range(first, first + self.micro_batch)]

    def _slot(self, own: Sequence[int], place: int) -> Slot:
        if self.skips is None or not (self.skips.policy.skips or self.skips.entries):
            return Slot(own[place])
        following = (own[(place + ahead) % len(own)] for ahead in range(len(own)))
        usable = list(islice((index for index in following if index not in self.skips.entries), 1 + SUBSTITUTES))
        if not usable:
            return Slot(own[place])  # reading it says why it is not usable
        return Slot(usable[0], substitutes=tuple(usable[1:]) if self.skips.policy.skips else ())


class ValidationOrder(Sampler[list[Slot]]):
    """Every record once over all ranks; ranks that run out repeat record 0 uncounted, to stay in lockstep."""

    def __init__(self, num_records: int, *, ranks: tuple[int, int], batch: int) -> None:
        self.num_records = num_records
        self.rank, self.world = ranks
        self.batch = batch

    def __len__(self) -> int:
        return math.ceil(self.num_records / (self.world * self.batch))

    def __iter__(self) -> Iterator[list[Slot]]:
        for step in range(len(self)):
            first = (step * self.world + self.rank) * self.batch
            real = range(first, min(first + self.batch, self.num_records))
            yield [Slot(index) for index in real] or [Slot(0, counts=False)]


def steps_per_epoch(num_records: int, *, world: int, batch: int) -> int:
    """Return the optimizer steps of a whole epoch of `world` ranks x `batch` samples."""
    return num_records // (world * batch)


def require_steps(num_records: int, *, world: int, batch: int) -> None:
    """Raise BlockedError when an epoch would have no step."""
    if num_records >= world * batch:
        return
    largest = num_records // world
    message = f"{num_records} training records are fewer than one step of {world} ranks x {batch} samples."
    fix = f"Set train.train_batch_per_replica to at most {largest}." if largest else f"Use at most {num_records} ranks."
    raise BlockedError.of(
        "batch_too_large", message, fix, path="train.train_batch_per_replica", got=batch, expected=largest
    )


@dataclass(frozen=True)
class Workers:
    """Loader processes and the batches that each prefetches."""

    count: int
    prefetch: int

    def bounded(self, batch_bytes: int) -> "Workers":
        """Return these settings, limited to a quarter of the machine's free memory for batches of this size.

        Every process prefetches `prefetch` batches; ranks on one machine share the quarter.
        """
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (4 * settings.processes_on_this_machine())
        batches = max(1, free // max(1, batch_bytes))  # text-only batches have no bytes to count
        count = min(self.count, batches)
        return Workers(count, min(self.prefetch, max(1, batches // max(1, count))))

    def worthwhile(self, num_batches: int) -> "Workers":
        """Return these settings with at most one process for every few batches of the whole run, maybe none.

        A process imports torch and transformers before its first batch, which takes as long as decoding some batches.
        """
        return Workers(min(self.count, num_batches // BATCHES_PER_PROCESS), self.prefetch)


class Batches(Generic[T]):
    """A data loader whose processes are spawned (a forked video decoder may hang) and whose errors keep their type."""

    def __init__(
        self,
        source: Source,
        order: Iterable[list[Slot]],
        workers: Workers,
        collate: Callable[..., T],
        skips: SkipLog | None = None,
    ) -> None:
        self.skips = skips
        count = min(workers.count, os.cpu_count() or 1)  # more than one per core only slow down the start
        many = count > 0
        self.loader: DataLoader[Any] = DataLoader(
            _Slots(source),
            batch_sampler=order,
            collate_fn=_Collate(collate),
            num_workers=count,
            prefetch_factor=workers.prefetch if many else None,
            persistent_workers=many,
            multiprocessing_context="spawn" if many else None,
            timeout=TIMEOUT_SECONDS if many else 0,
            pin_memory=distributed.uses_gpu(),
            worker_init_fn=interruption.outlive_one_signal if many else None,
            generator=torch.Generator(),  # else every epoch draws from the global generator, which dropout uses
        )

    def __iter__(self) -> Iterator[T]:
        for batch in self.loader:
            if isinstance(batch, _Failure):
                raise BlockedError(batch.problems)
            content, skipped = batch
            if self.skips is not None:
                self.skips.note(skipped)
            yield content


class ReadAhead(Generic[T]):
    """A loader for samples that are only read, not decoded: threads prefetch batches into page-locked memory.

    Reading releases the GIL, and nothing is copied between processes.
    """

    def __init__(
        self,
        source: Source,
        order: Iterable[list[Slot]],
        workers: Workers,
        collate: Callable[..., Any],
        skips: SkipLog | None = None,
    ) -> None:
        self.source, self.order, self.collate, self.skips = source, order, collate, skips
        self.num_threads = max(1, min(workers.count, MAX_THREADS))

    def __iter__(self) -> Iterator[T]:
        rest = iter(self.order)
        with ThreadPoolExecutor(self.num_threads) as pool:
            waiting = deque(
                pool.submit(self._load, slots) for slots in islice(rest, BATCHES_PER_THREAD * self.num_threads)
            )
            try:
                while waiting:
                    batch, skipped = waiting.popleft().result()
                    if self.skips is not None:
                        self.skips.note(skipped)
                    waiting.extend(pool.submit(self._load, slots) for slots in islice(rest, 1))
                    yield batch
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, slots: list[Slot]) -> tuple[T, tuple[Skip, ...]]:
        found = [bad_samples.read(self.source.__getitem__, (slot.index, *slot.substitutes)) for slot in slots]
        batch = self.collate([sample for sample, _ in found], [slot.counts for slot in slots])
        skipped = tuple(skip for _, skips in found for skip in skips)
        return (batch.pin_memory() if distributed.uses_gpu() else batch), skipped


@dataclass(frozen=True)
class _Failure:
    """An error passed out of a loader process, which cannot transfer the exception itself."""

    problems: tuple[Problem, ...]


class _Slots(Dataset[Any]):
    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, slot: Slot) -> tuple[Any, bool, tuple[Skip, ...]] | _Failure:
        try:
            sample, skipped = bad_samples.read(self.source.__getitem__, (slot.index, *slot.substitutes))
            return sample, slot.counts, skipped
        except TaoSkillsError as error:
            return _Failure(error.problems)


@dataclass(frozen=True)
class _Collate:
    collate: Callable[..., Any]

    def __call__(self, items: list[tuple[Any, bool, tuple[Skip, ...]] | _Failure]) -> Any:
        samples, counted = [], []
        skipped: list[Skip] = []
        for item in items:
            if isinstance(item, _Failure):
                return item
            samples.append(item[0])
            counted.append(item[1])
            skipped += item[2]
        return self.collate(samples, counted), tuple(skipped)


assert set(MODEL_KEYS) == set(PADS)
