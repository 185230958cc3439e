"""Checks that the optional Python modules which the job will import are installed where it runs."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tao_skill_bank.bank import model_hooks
from tao_skill_bank.bank.libraries import Library
from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.preflight.model.inspection import sibling_module


def check(job: Job, *, runs_here: bool) -> list[Finding]:
    """Return one finding per missing module; nothing where the job runs in an image or on another machine.

    A module without which the job fails stops a launch from this machine; one that it goes without is a warning.
    """
    name = sibling_module(job, "libraries")
    if name is None or not runs_here or job.image is not None:
        return []
    module: Any = import_module(name)
    needed: Sequence[Library] = model_hooks.call(
        f"{name} cannot tell what the job imports", lambda: module.needed(job.action, job.spec)
    )
    return [_missing(library) for library in needed if not is_installed(library.module)]


def is_installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # ValueError: a module that is loaded without a spec
        return module in sys.modules


def _missing(library: Library) -> Finding:
    message = f"{library.user} needs the Python module '{library.module}', which {sys.executable} does not have"
    message += "." if library.fails else ": what it computes will be left out."
    fix, without = library.install, dict(library.without)
    if without:
        fix += f", or set {', '.join(f'{path}={_shown(value)}' for path, value in without.items())}"
        fix += f"; {library.why}" if library.why else ""
    return Finding(
        "missing_extra",
        "warning",
        message,
        f"{fix}.",
        library.path or library.module,
        {"module": library.module, "blocks_run": library.fails},
        fix_set={} if library.is_choice else without,
        fix_choices=(without,) if library.is_choice and without else (),
    )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
