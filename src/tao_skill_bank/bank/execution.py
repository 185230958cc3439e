"""Chooses the execution plan of a training: the fastest one that fits into GPU memory, with the reason.

A model lists its execution plans, fastest first, with their predicted memory (`memory.py` of each model). Preflight
chooses for the GPU that it sees, and the trainer chooses again for the GPU it runs on, by this same function.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

HEADROOM = 1.05  # predicted memory is calibrated to a few percent; memory fragmentation adds a little


@dataclass(frozen=True)
class ExecutionPlan:
    """How to run a training.

    Attributes:
        name: shown to people.
        settings: the value of each spec path that it sets.
        memory_bytes: predicted peak of one GPU.
        relative_time: step time divided by that of the fastest plan.

    """

    name: str
    settings: Mapping[str, Any]
    memory_bytes: int
    relative_time: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """The chosen plan, whether it fits, and the reason in one or two sentences."""

    plan: ExecutionPlan
    fits: bool
    reason: str


def choose(plans: Sequence[ExecutionPlan], capacity_bytes: int | None) -> Choice:
    """Return the first plan that fits, or the smallest one when none does.

    Args:
        plans: fastest first, at least one; exactly one where the spec leaves no choice.
        capacity_bytes: memory of the GPU; None without a GPU.

    """
    if capacity_bytes is None:
        return Choice(plans[0], True, f"{plans[0].name}: there is no GPU memory limit.")
    fitting = [plan for plan in plans if plan.memory_bytes * HEADROOM <= capacity_bytes]
    if not fitting:
        smallest = min(plans, key=lambda plan: plan.memory_bytes)
        reason = f"{_needs(smallest)} at least, and a GPU has {_gib(capacity_bytes)}."
        return Choice(smallest, False, reason)
    plan = fitting[0]
    faster = list(plans[: plans.index(plan)])
    parts = [f"{_needs(plan)} of {_gib(capacity_bytes)}"]
    if faster:
        nearest = min(faster, key=lambda plan: plan.memory_bytes)
        share = plan.relative_time / nearest.relative_time - 1
        parts.append(f"{nearest.name} would be {share:.0%} faster and needs {_gib(nearest.memory_bytes)}")
    elif len(plans) > 1:
        parts.append("nothing faster is known")
    return Choice(plan, True, "; ".join(parts) + ".")


def from_json(documents: Sequence[Mapping[str, Any]]) -> list[ExecutionPlan]:
    """Return the plans that a model's inspection reported."""
    return [ExecutionPlan(**document) for document in documents]


def _needs(plan: ExecutionPlan) -> str:
    return f"{plan.name} needs about {_gib(plan.memory_bytes)}"


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
