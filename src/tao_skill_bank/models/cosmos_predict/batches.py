"""The clips and windows of every step, prefetched by threads; deterministic, also after a resume."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_predict import clips
from tao_skill_bank.training import bad_samples
from tao_skill_bank.training.bad_samples import SUBSTITUTES, Skip, SkipLog

READ_AHEAD = 2  # prefetched micro-batches per thread


@dataclass(frozen=True)
class Item:
    """A training or validation clip. `index` seeds its windows; `size` is (height, width) of its frames."""

    index: int
    name: str
    video: Path
    caption: str
    num_frames: int
    size: tuple[int, int]


Slot = tuple[Item, ...]
"""A clip's place in a micro-batch: the clip, and those that are tried when it cannot be read."""


@dataclass(frozen=True)
class Windows:
    """How windows are drawn. `kept` is the number of cached windows per clip; 0 draws a new one every epoch."""

    num_frames: int
    seed: int
    kept: int

    def starts(self, item: Item) -> list[int]:
        """Return the unique first frames of the cached windows."""
        return list(
            dict.fromkeys(
                clips.window_start(item.num_frames, self.num_frames, self.seed, 0, item.index, number)
                for number in range(max(1, self.kept))
            )
        )

    def start(self, item: Item, epoch: int) -> int:
        """Return the first frame of an epoch's window, one of the cached windows if there are any."""
        if not self.kept:
            return clips.window_start(item.num_frames, self.num_frames, self.seed, epoch, item.index)
        starts = self.starts(item)
        generator = torch.Generator().manual_seed(mixed(self.seed, epoch, item.index))
        return starts[int(torch.randint(len(starts), (), generator=generator))]


@dataclass(frozen=True)
class Order:
    """Micro-batches of clips of equal size, reshuffled every epoch; an incomplete step is dropped."""

    items: Sequence[Item]
    batch_size: int
    accumulation: int
    world: int
    seed: int

    @property
    def num_steps(self) -> int:
        """Optimizer steps of an epoch. Raises BlockedError if there are none."""
        steps = len(self._batches(0)) // (self.world * self.accumulation)
        if not steps:
            message = (
                f"{len(self.items)} training clips are fewer than one step needs: batch_size {self.batch_size} x "
                f"gradient_accumulation_steps {self.accumulation} x {self.world} ranks."
            )
            fix = "Lower train.batch_size or train.gradient_accumulation_steps, use fewer GPUs, or add clips."
            raise BlockedError.of("batch_exceeds_records", message, fix, path="train.batch_size")
        return steps

    def micro_batches(self, epoch: int, rank: int) -> list[list[Item]]:
        """Return the micro-batches of a rank, `accumulation` of them per step."""
        every = self._batches(epoch)[: self.num_steps * self.world * self.accumulation]
        return every[rank :: self.world]

    def _batches(self, epoch: int) -> list[list[Item]]:
        generator = torch.Generator().manual_seed(mixed(self.seed, epoch, -1))
        shuffled = [self.items[i] for i in torch.randperm(len(self.items), generator=generator).tolist()]
        by_size: dict[tuple[int, int], list[Item]] = {}
        for item in shuffled:
            by_size.setdefault(item.size, []).append(item)
        size = self.batch_size
        batches = [same[at : at + size] for same in by_size.values() for at in range(0, len(same) - size + 1, size)]
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def with_substitutes(batches: Sequence[list[Item]], skips: SkipLog) -> list[list[Slot]]:
    """Return the micro-batches of a rank's epoch with what is read in place of a bad clip: the next of the same size.

    Clips that the log names give their places to the next ones.
    """
    own = [item for batch in batches for item in batch]
    places = iter(range(len(own)))
    return [[_slot(own, next(places), skips) for _ in batch] for batch in batches]


def _slot(own: Sequence[Item], place: int, skips: SkipLog) -> Slot:
    if not (skips.policy.skips or skips.entries):
        return (own[place],)
    following = (own[(place + ahead) % len(own)] for ahead in range(len(own)))
    usable = (item for item in following if item.size == own[place].size and item.index not in skips.entries)
    found = tuple(islice(usable, 1 + SUBSTITUTES))
    return (found if skips.policy.skips else found[:1]) or (own[place],)


@dataclass(frozen=True)
class Loaded:
    """A micro-batch: its clips, their tensors stacked, and the clips that could not be read."""

    items: list[Item]
    tensors: Tensor
    skipped: tuple[Skip, ...]


def _loaded(slots: Sequence[Slot], load: Callable[[Item], Tensor]) -> Loaded:
    items: list[Item] = []
    tensors: list[Tensor] = []
    skipped: list[Skip] = []
    for slot in slots:
        by_index = {item.index: item for item in slot}
        (item, tensor), bad = bad_samples.read(partial(_read, by_index, load), list(by_index))
        items.append(item)
        tensors.append(tensor)
        skipped += bad
    return Loaded(items, torch.stack(tensors), tuple(skipped))


def _read(items: Mapping[int, Item], load: Callable[[Item], Tensor], index: int) -> tuple[Item, Tensor]:
    return items[index], load(items[index])


def read_ahead(batches: Sequence[Sequence[Slot]], load: Callable[[Item], Tensor], num_threads: int) -> Iterator[Loaded]:
    """Yield every micro-batch with its tensors stacked, prefetching a few.

    Threads are sufficient: reading and decoding release the GIL. An error of `load` is raised when its batch is due.
    """
    if not num_threads:
        yield from (_loaded(batch, load) for batch in batches)
        return
    workers = min(num_threads, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        rest = iter(batches)

        def submit(batch: Sequence[Slot]) -> Future[Loaded]:
            return pool.submit(_loaded, batch, load)

        waiting = [submit(batch) for batch in islice(rest, READ_AHEAD * workers)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [submit(batch) for batch in islice(rest, 1)]


def mixed(*numbers: int) -> int:
    """Return a hashed seed, well mixed for neighbouring numbers."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number + 1)) * 0xBF58476D1CE4E5B9 % 2**63
        state ^= state >> 29
    return state
