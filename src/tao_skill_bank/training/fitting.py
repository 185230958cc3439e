"""Tries what makes a run need less memory, and reports the overrides with which it fits.

A model offers ladders: each is a list of overrides, the smallest change first. Of every ladder the first rung that
fits is reported, so that the user chooses between kinds of change, never between values that do not work.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.bank import execution
from tao_skill_bank.core import nested
from tao_skill_bank.errors import TaoSkillsError

Overrides = dict[str, Any]
Ladders = Sequence[Sequence[Overrides]]
Inspect = Callable[[Mapping[str, Any]], Mapping[str, Any]]  # spec -> the document of an inspection


@dataclass(frozen=True)
class Capacity:
    """Memory of one process in bytes: of its GPU, or its share of the host's."""

    memory_bytes: int
    is_gpu: bool

    def holds(self, document: Mapping[str, Any]) -> bool:
        """Return whether what an inspection reported fits; a training on a GPU by its execution plans."""
        plans = execution.from_json(document.get("ways", []))
        if plans and self.is_gpu:
            return execution.choose(plans, self.memory_bytes).fits
        total = document["memory_bytes_per_gpu"].get("total")
        return total is not None and total <= self.memory_bytes


def choices(spec: Mapping[str, Any], ladders: Ladders, inspect: Inspect, capacity: Capacity) -> list[Overrides]:
    """Return the overrides of each ladder with which the spec fits, in the order of the ladders."""
    found = (_first_that_fits(spec, ladder, inspect, capacity) for ladder in ladders)
    return [overrides for overrides in found if overrides is not None]


def halved(value: int, least: int) -> Iterator[int]:
    """Yield half of a value, a quarter, and so on, down to `least`."""
    while (value := value // 2) >= least:
        yield value


def _first_that_fits(
    spec: Mapping[str, Any], ladder: Sequence[Overrides], inspect: Inspect, capacity: Capacity
) -> Overrides | None:
    for overrides in ladder:
        changed: Mapping[str, Any] = spec
        for path, value in overrides.items():
            changed = nested.with_value(changed, path, value)
        try:
            document = inspect(nested.without_nulls(changed))
        except TaoSkillsError:
            continue  # a rule of the spec or of the model forbids the rung
        if capacity.holds(document):
            return overrides
    return None
