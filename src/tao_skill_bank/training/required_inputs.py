"""Whether this machine sees what a program reads: looked at before a weight is loaded, all of it together.

The plan may have been made on a machine that could not tell.
"""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic

from tao_skill_bank.bank import model_hooks
from tao_skill_bank.contracts import Workload
from tao_skill_bank.errors import BlockedError, Problem, UnknownNameError

CONFIG = "config"
INPUT, CHECKPOINT = "input_missing", "checkpoint_missing"


def require(spec: Any, results_dir: Path) -> None:
    """Refuse to start where a model, dataset or checkpoint of the spec cannot be read, or results not be written.

    Raises:
        BlockedError: every path that is missing or not accessible, with its role and this machine.
        UnknownNameError: checkpoints alone are.

    """
    problems = [*_unreadable(spec), *_unwritable(results_dir)]
    if problems:
        is_unknown = all(problem.code == CHECKPOINT for problem in problems)
        raise UnknownNameError(problems) if is_unknown else BlockedError(problems)


def _unreadable(spec: Any) -> Iterator[Problem]:
    described = _workload(spec)
    if described is None:
        return
    checkpoints = (described.model, described.base_model, described.resume_from)
    for role, paths in described.paths_by_role.items():
        for path in dict.fromkeys(paths):
            if Path(path).is_absolute() and (wrong := _fault(Path(path))):
                message = f"{path} ({role}) {wrong} {socket.gethostname()}, a machine of this job."
                fix = "Name a path that every machine of the job sees, or mount it there."
                yield Problem(CHECKPOINT if path in checkpoints else INPUT, message, fix, path)


def _fault(path: Path) -> str:
    """Return what is wrong with a path, before the name of the machine; empty where it can be read."""
    try:
        is_there = path.exists()
    except OSError:
        is_there = False
    if not is_there:
        return "does not exist on"
    return "" if os.access(path, os.R_OK) else "cannot be read by this user on"


def _unwritable(folder: Path) -> Iterator[Problem]:
    if not os.access(folder, os.W_OK | os.X_OK):
        message = f"The run directory {folder} cannot be written by this user on {socket.gethostname()}."
        yield Problem("results_dir_unwritable", message, "Make it writable, or choose another one.", str(folder))


def _workload(spec: Any) -> Workload | None:
    """Return what a spec reads, as its model describes it to preflight; None for a program of no model package.

    By the naming rule, `models/<package>/config` has `TrainConfig` for the action `train`.
    """
    kind = type(spec)
    package, is_model, rest = kind.__module__.removeprefix(f"{model_hooks.MODELS}.").partition(".")
    if not is_model or rest.partition(".")[0] != CONFIG or not kind.__module__.startswith(model_hooks.MODELS):
        return None
    module = model_hooks.load(package, "workload")
    action = kind.__name__.removesuffix("Config").lower()
    values = pydantic.TypeAdapter(kind).dump_python(spec, mode="json")
    found = model_hooks.call(f"describe of {module.__file__} fails", lambda: module.describe(action, values))
    return found if isinstance(found, Workload) else None
