"""How results are shown: one module and one template per kind of result, found by its name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from tao_skill_bank.report.views import RunView

UNKNOWN = "numbers"  # shows any results, also those of a newer release


@dataclass(frozen=True)
class Section:
    """The evaluations of one kind, as their template shows them.

    Attributes:
        kind: name of the module and of the template below templates/kinds.
        runs: the evaluations.
        shown: other values that the module passes to the template.
        note: a remark about the kind itself.

    """

    kind: str
    runs: tuple[RunView, ...]
    shown: Mapping[str, Any]
    note: str = ""


def sections(runs: Sequence[RunView]) -> list[Section]:
    """Return a section for each kind of the evaluations among the runs, in the order of the workflow."""
    kinds = dict.fromkeys(run.evaluation.kind for run in runs if run.evaluation)
    return [_section(kind, [run for run in runs if run.evaluation and run.evaluation.kind == kind]) for kind in kinds]


def _section(kind: str, runs: Sequence[RunView]) -> Section:
    known = [module.name for module in iter_modules(__path__)]
    name = kind if kind in known else UNKNOWN
    note = "" if kind == name else f"This release does not know results of kind {kind}; their numbers are shown."
    module: Any = import_module(f"{__name__}.{name}")
    return Section(name, tuple(runs), module.view(runs), note)
