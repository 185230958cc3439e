"""The checks, found by location: every module of a room that has a `check` function."""

import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType

from tao_skill_bank.contracts import Finding
from tao_skill_bank.preflight import facts
from tao_skill_bank.preflight.facts import Facts

MACHINE = "machine"
ROOMS = ("storage", "model", "data", MACHINE)  # the order of their findings


@dataclass(frozen=True)
class Check:
    """One module's `check`, and the facts that its parameters name."""

    module: ModuleType
    needs: tuple[str, ...]

    def run(self, known: Facts) -> list[Finding]:
        """Return the findings of the check."""
        check: Callable[..., list[Finding]] = self.module.check
        return check(**{name: getattr(known, name) for name in self.needs})

    @property
    def room(self) -> str:
        """The package of the check's module."""
        return self.module.__name__.rpartition(".")[0].rpartition(".")[2]


@cache
def found() -> tuple[Check, ...]:
    """Return every check, by its room and the name of its file.

    Raises:
        TypeError: a check asks for what preflight does not know.

    """
    package = __name__.rpartition(".")[0]
    modules = (
        import_module(f"{package}.{room}.{module.name}")
        for room in ROOMS
        for module in sorted(pkgutil.iter_modules(import_module(f"{package}.{room}").__path__), key=lambda it: it.name)
    )
    return tuple(of(module) for module in modules if hasattr(module, "check"))


def of(module: ModuleType) -> Check:
    """Return the check of a module. Raises TypeError like `found`."""
    needs = tuple(inspect.signature(module.check).parameters)
    known = facts.names()
    for name in needs:
        if name not in known:
            raise TypeError(f"{module.__file__}: check asks for '{name}'; preflight knows {', '.join(sorted(known))}.")
    return Check(module, needs)
