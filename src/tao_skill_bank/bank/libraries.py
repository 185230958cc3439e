"""Python modules that an action imports, from optional dependencies: what a model's `libraries.py` names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Spec = Mapping[str, Any]
TRAIN = "train"


@dataclass(frozen=True)
class Library:
    """A module that an action imports.

    Attributes:
        module: name that is imported.
        extra: the extra of this package that installs it; empty for a library of its own name on PyPI.
        user: what needs it, as the subject of a sentence.
        path: the spec key that asks for it; empty where the action always needs it.
        without: overrides under which it is not needed.
        is_choice: those overrides are for the user to decide, because the result differs in more than its cost.
        fails: the action fails without it; otherwise it goes without what the module computes.
        why: what to know of these overrides.

    """

    module: str
    extra: str
    user: str
    path: str = ""
    without: Mapping[str, Any] = field(default_factory=dict)
    is_choice: bool = False
    fails: bool = True
    why: str = ""

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install 'tao-skill-bank[{self.extra}]'" if self.extra else f"pip install {self.module}"


class LibrariesModule(Protocol):
    """The interface of a model's `libraries` module."""

    def needed(self, action: str, spec: Spec) -> Sequence[Library]:
        """Return the optional modules that an action of a valid spec imports."""


def always(action: str, extra: str, *modules: str) -> list[Library]:
    """Return modules that an action needs whatever its spec says."""
    return [Library(module, extra, f"The action {action}") for module in modules]


def loggers(path: str, named: Sequence[str]) -> list[Library]:
    """Return what the destinations of a training's metrics need, each with the list that is left without it."""
    return [
        Library(name, name, f"{path} {name}", path, {path: [other for other in named if other != name]})
        for name in ("wandb", "tensorboard")
        if name in named
    ]
