"""Chooses how a training runs from what each way needs and what the GPU has: the fastest that fits, and says why.

A model lists its ways, fastest first, with predicted memory (`memory.py` of each model). Preflight chooses with the GPU
it sees, and the trainer chooses again with the GPU it runs on, by this same function.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

HEADROOM = 1.05  # predicted memory is calibrated to a few percent; a fragment here and there comes on top


@dataclass(frozen=True)
class Way:
    """One way to run a training.

    Attributes:
        name: what people call it.
        settings: spec path to the value that it means.
        memory_bytes: predicted peak of one GPU.
        relative_time: step time over that of the fastest way.

    """

    name: str
    settings: Mapping[str, Any]
    memory_bytes: int
    relative_time: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """The way that was chosen, whether it fits, and the reason in one sentence or two."""

    way: Way
    fits: bool
    reason: str


def choose(ways: Sequence[Way], capacity_bytes: int | None) -> Choice:
    """Return the first way that fits, or the smallest one when none does.

    Args:
        ways: fastest first, at least one; a single one where the spec leaves no choice.
        capacity_bytes: memory of the GPU; None where there is none to fit into.

    """
    if capacity_bytes is None:
        return Choice(ways[0], True, f"{ways[0].name}: there is no GPU memory to fit into.")
    fitting = [way for way in ways if way.memory_bytes * HEADROOM <= capacity_bytes]
    if not fitting:
        smallest = min(ways, key=lambda way: way.memory_bytes)
        reason = f"{_needs(smallest)} at least, and a GPU has {_gib(capacity_bytes)}."
        return Choice(smallest, False, reason)
    way = fitting[0]
    faster = list(ways[: ways.index(way)])
    parts = [f"{_needs(way)} of {_gib(capacity_bytes)}"]
    if faster:
        nearest = min(faster, key=lambda way: way.memory_bytes)
        share = way.relative_time / nearest.relative_time - 1
        parts.append(f"{nearest.name} would be {share:.0%} faster and needs {_gib(nearest.memory_bytes)}")
    elif len(ways) > 1:
        parts.append("nothing faster is known")
    return Choice(way, True, "; ".join(parts) + ".")


def from_json(documents: Sequence[Mapping[str, Any]]) -> list[Way]:
    """Return ways as a model's inspection told them."""
    return [Way(**document) for document in documents]


def _needs(way: Way) -> str:
    return f"{way.name} needs about {_gib(way.memory_bytes)}"


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
