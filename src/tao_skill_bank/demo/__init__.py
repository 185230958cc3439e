"""End-to-end workflows on a laptop CPU with embedded models and sample data; one module per demo, found by its name."""

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tao_skill_bank.bank.catalog import did_you_mean
from tao_skill_bank.errors import UnknownNameError

Say = Callable[[str], None]


def names() -> list[str]:
    """Return the demos there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def run(name: str, folder: Path, *, smoke: bool, say: Say) -> dict[str, Any]:
    """Run a demo and return its summary: what to open, figures, paths, seconds.

    Raises:
        UnknownNameError: no such demo.
        MissingExtraError: the training stack is not installed.
        JobFailedError: a job failed, or a result is below the demo's expectation.
    """
    if name not in names():
        message = f"Unknown demo '{name}'.{did_you_mean(name, names())}"
        raise UnknownNameError.of("unknown_demo", message, f"Use one of: {', '.join(names())}.", path="demo", got=name)
    module = importlib.import_module(f"{__name__}.{name}")
    summary: dict[str, Any] = module.run(folder.absolute(), smoke=smoke, say=say)
    return summary
