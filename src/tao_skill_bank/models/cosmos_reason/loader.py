"""Which records make which batch on which rank, and how samples become one batch."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from tao_skill_bank.errors import BlockedError, Problem, TaoSkillsError
from tao_skill_bank.models.cosmos_reason.processor import IGNORED, PADS, TOKEN_TYPE, Processor, Sample
from tao_skill_bank.models.cosmos_reason.vision import CHANNELS, normalize
from tao_skill_bank.training import distributed

TIMEOUT_SECONDS = 600  # a loader process that gives nothing for so long has hung on a broken file
# Inductor of torch 2.11 computes masked attention wrongly at a static length that is no multiple of 8: on an H200 the
# loss of a compiled model was 1.30 at length 79 where eager, dynamic shapes and length 80 all gave 0.53.
LENGTH_MULTIPLE = 8
MODEL_KEYS = {"video": ("pixel_values_videos", "video_grid_thw"), "image": ("pixel_values", "image_grid_thw")}


class Source(Protocol):
    """Anything that gives the sample of an index."""

    def __getitem__(self, index: int) -> Sample: ...


Slot = tuple[int, bool]
"""Record index, and whether its answer counts: False fills a rank's batch up in validation."""


@dataclass(frozen=True)
class Batch:
    """Padded samples.

    Attributes:
        inputs: what the model's forward takes: int64 ids, mask and token types of shape (batch, length), uint8
            patches of shape (patches, values) and int64 grids of shape (media, 3).
        labels: int64 of shape (batch, length), -100 where nothing is learned.
        num_samples: samples that count.

    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    num_samples: int

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from which copies to a GPU run in the background."""
        pinned = {key: value.pin_memory() for key, value in self.inputs.items()}
        return Batch(pinned, self.labels.pin_memory(), self.num_samples)

    @property
    def num_tokens(self) -> int:
        """Tokens without padding."""
        return int(self.inputs["attention_mask"].sum())

    @property
    def num_labels(self) -> int:
        """Tokens that enter the loss: a sequence's first token is predicted from nothing."""
        return int((self.labels[:, 1:] != IGNORED).sum())


@dataclass(frozen=True)
class Padding:
    """How samples are padded: on the right to train, on the left to generate.

    `kinds` are the media kinds of the whole dataset. A batch without one of them gets a masked dummy of one token, so
    that the vision tower runs equally often on every rank; otherwise sharded ranks would wait for each other forever.
    """

    processor: Processor
    kinds: frozenset[str] = frozenset()
    side: Literal["left", "right"] = "right"


def collate(samples: Sequence[Sample], padding: Padding, counted: Sequence[bool] = ()) -> Batch:
    """Pad samples into one batch; a sample that is not `counted` keeps no labels."""
    processor, kinds, side = padding.processor, padding.kinds, padding.side
    missing = sorted(kinds - {kind for sample in samples for kind in sample.patches})
    length = max(len(sample.input_ids) for sample in samples) + len(missing)
    if side == "right":
        length += -length % LENGTH_MULTIPLE
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
        if not counted or counted[row]:
            labels[row, where] = sample.labels
    inputs = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": types}
    for kind, (pixels_key, grid_key) in MODEL_KEYS.items():
        present = [sample for sample in samples if kind in sample.patches]
        if present:
            inputs[pixels_key] = torch.cat([sample.patches[kind] for sample in present])
            inputs[grid_key] = torch.cat([sample.grids[kind] for sample in present])
    for position, kind in enumerate(missing):
        column = position if side == "left" else length - 1 - position
        ids[0, column], types[0, column] = processor.pad_ids[kind], TOKEN_TYPE[kind]
        inputs[MODEL_KEYS[kind][0]], inputs[MODEL_KEYS[kind][1]] = _dummy(processor)
    return Batch(inputs, labels, sum(counted) if counted else len(samples))


def to_device(batch: Batch, device: torch.device, processor: Processor) -> Batch:
    """Return the batch on `device`, with its patches as normalized float32."""
    inputs = {key: value.to(device, non_blocking=True) for key, value in batch.inputs.items()}
    for pixels_key, _ in MODEL_KEYS.values():
        if pixels_key in inputs:
            inputs[pixels_key] = normalize(inputs[pixels_key], processor.pixel_format)
    return Batch(inputs, batch.labels.to(device, non_blocking=True), batch.num_samples)


class TrainingOrder(Sampler[list[Slot]]):
    """Micro-batches of one rank: every step takes the next D x batch records of a permutation drawn per epoch.

    The ranks share out a step's records, so the records of a step do not depend on how many ranks there are.
    """

    def __init__(self, num_records: int, *, ranks: tuple[int, int], batch: int, micro_batch: int, seed: int) -> None:
        self.num_records = num_records
        self.rank, self.world = ranks
        self.batch, self.micro_batch, self.seed = batch, micro_batch, seed
        self.epoch = 0

    @property
    def num_steps(self) -> int:
        """Steps per epoch; the rest of the records is dropped."""
        return self.num_records // (self.world * self.batch)

    def __len__(self) -> int:
        return self.num_steps * (self.batch // self.micro_batch)

    def __iter__(self) -> Iterator[list[Slot]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.num_records, generator=generator).tolist()
        for step in range(self.num_steps):
            start = (step * self.world + self.rank) * self.batch
            for first in range(start, start + self.batch, self.micro_batch):
                yield [(index, True) for index in order[first : first + self.micro_batch]]


class ValidationOrder(Sampler[list[Slot]]):
    """Every record once over all ranks; ranks that run out repeat record 0 uncounted, so that all stay in step."""

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
            yield [(index, True) for index in real] or [(0, False)]


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
    """Loader processes and the batches that each keeps ready."""

    count: int
    prefetch: int


class Batches:
    """A data loader whose processes are spawned (a forked video decoder may hang) and whose errors keep their type."""

    def __init__(self, source: Source, order: Iterable[list[Slot]], workers: Workers, padding: "Padding") -> None:
        count = min(workers.count, os.cpu_count() or 1)  # more than one a core only start slower
        many = count > 0
        self.loader: DataLoader[Any] = DataLoader(
            _Slots(source),
            batch_sampler=order,
            collate_fn=_Collate(padding),
            num_workers=count,
            prefetch_factor=workers.prefetch if many else None,
            persistent_workers=many,
            multiprocessing_context="spawn" if many else None,
            timeout=TIMEOUT_SECONDS if many else 0,
            pin_memory=distributed.uses_gpu(),
        )

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader:
            if isinstance(batch, _Failure):
                raise BlockedError(batch.problems)
            yield batch


@dataclass(frozen=True)
class _Failure:
    """An error on its way out of a loader process, which could not carry the exception itself."""

    problems: tuple[Problem, ...]


class _Slots(Dataset[Any]):
    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, slot: Slot) -> tuple[Sample, bool] | _Failure:
        try:
            return self.source[slot[0]], slot[1]
        except TaoSkillsError as error:
            return _Failure(error.problems)


@dataclass(frozen=True)
class _Collate:
    padding: Padding

    def __call__(self, items: list[tuple[Sample, bool] | _Failure]) -> Batch | _Failure:
        samples, counted = [], []
        for item in items:
            if isinstance(item, _Failure):
                return item
            samples.append(item[0])
            counted.append(item[1])
        return collate(samples, self.padding, counted)


def _dummy(processor: Processor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the patches and grid of one black token."""
    sizes = processor.pixel_format.geometry
    values = CHANNELS * sizes.temporal_patch_size * sizes.patch_size**2
    side = sizes.merge_size
    return torch.zeros(side * side, values, dtype=torch.uint8), torch.tensor([[1, side, side]])


assert set(MODEL_KEYS) == set(PADS)
