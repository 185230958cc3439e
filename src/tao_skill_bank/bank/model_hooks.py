"""Imports and calls what a model package gives the control plane; an author's mistake is one error with its place."""

import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from tao_skill_bank.errors import BlockedError, TaoSkillsError

T = TypeVar("T")
MODELS = "tao_skill_bank.models"
FIX = "Correct it; references/add-a-model.md says what every file must do."


def load(package: str, module: str) -> ModuleType:
    """Return a module of a model package.

    Raises:
        BlockedError: it cannot be imported.

    """
    name = f"{MODELS}.{package}.{module}"
    return call(f"{name} cannot be imported", lambda: import_module(name))


def call(failure: str, hook: Callable[[], T]) -> T:
    """Return what a hook returns; `failure` says what is wrong when it raises. Errors of ours pass.

    Raises:
        BlockedError: it raised anything else; the message names the file and the line that did.

    """
    try:
        return hook()
    except TaoSkillsError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        message = f"{failure}: {Path(frame.filename)}, line {frame.lineno}: {type(error).__name__}: {reason}"
        raise BlockedError.of("model_hook_failed", message, FIX, path=frame.filename) from error


def attribute(module: ModuleType, name: str) -> object:
    """Return what a module of a model package must define. Raises BlockedError."""
    if not hasattr(module, name):
        raise BlockedError.of("model_hook_missing", f"{module.__file__} has no {name}.", FIX, path=str(module.__file__))
    return getattr(module, name)
