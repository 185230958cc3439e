"""Faults of single items of a dataset, and the one problem per kind of fault that a user reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.core.listing import listed
from tao_skill_bank.errors import Problem


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with one item: a clip, a file, a row or a line."""

    code: str
    item: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.item} ({self.detail})" if self.detail else self.item


@dataclass(frozen=True)
class Kind:
    """How a kind of fault is told: what the items are, with `{s}` where the plural needs one, and the cure.

    `counted` is false for what is wrong with the whole dataset, of which there is only one.
    """

    what: str
    fix: str
    counted: bool = True


def as_problems(faults: Sequence[Fault], kinds: Mapping[str, Kind], where: Path) -> tuple[Problem, ...]:
    """Return one problem per kind of fault, in the order of `kinds`; `got` names every item."""
    found = []
    for code, kind in kinds.items():
        items = [fault for fault in faults if fault.code == code]
        if items:
            what = kind.what.replace("{s}", "s" if len(items) > 1 else "")
            told = f"{len(items)} {what}: {listed(items)}" if kind.counted else f"{what}, {items[0].detail}"
            found.append(Problem(code, f"{where}: {told}.", kind.fix, str(where), [fault.item for fault in items]))
    return tuple(found)
