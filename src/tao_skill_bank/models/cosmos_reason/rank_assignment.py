"""Batches questions and assigns the batches to ranks. Pure Python.

Batches are formed before they are assigned to ranks: an answer may depend in its last bits on the rest of its batch,
but not on the number of ranks.
"""

import heapq
from collections.abc import Sequence

Batch = tuple[int, ...]


def batches(lengths: Sequence[int], size: int) -> list[Batch]:
    """Return the positions of `lengths` in batches of similar length, the longest first.

    Similar lengths need little padding; with the longest first, an out-of-memory error shows up immediately.
    """
    order = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    return [tuple(order[start : start + size]) for start in range(0, len(order), size)]


def cost(batch: Batch, lengths: Sequence[int], answer_tokens: int) -> int:
    """Return the work of a batch in tokens: padded prompts, and one more pass over the batch per answer token."""
    return len(batch) * max(lengths[position] for position in batch) + answer_tokens


def assign(made: Sequence[Batch], costs: Sequence[int], world: int) -> list[list[Batch]]:
    """Return the batches of every rank: each goes to the rank with the least work so far, in the given order."""
    shares: list[list[Batch]] = [[] for _ in range(world)]
    work = [(0, rank) for rank in range(world)]
    for batch, price in zip(made, costs, strict=True):
        done, rank = heapq.heappop(work)
        shares[rank].append(batch)
        heapq.heappush(work, (done + price, rank))
    return shares
