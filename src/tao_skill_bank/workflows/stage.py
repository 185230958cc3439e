"""What a stage is: a step that this process does itself. One module per stage in `stages/`, found by its name."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, cast

import pydantic

from tao_skill_bank.bank.catalog import did_you_mean
from tao_skill_bank.contracts import from_json
from tao_skill_bank.errors import Problem, RequestError, TaoSkillsError, UnknownNameError
from tao_skill_bank.workflows import stages


@dataclass(frozen=True)
class Context:
    """Where a stage works.

    Attributes:
        folder: its own folder, which exists; what an earlier attempt left there is still there, to be resumed or
            written again.
        workflow_folder: of the whole run.
        iteration: of the loop around the stage, from 1; 0 outside of a loop.
        say: reports progress in one line.

    """

    folder: Path
    workflow_folder: Path
    iteration: int
    say: Callable[[str], None]


@dataclass(frozen=True)
class Need:
    """What a stage will take of the limits: rows and GiB that it writes at most, hosts that it sends data to."""

    rows: int = 0
    disk_gib: float = 0.0
    hosts: tuple[str, ...] = ()


class Stage(Protocol):
    """A module of `stages/`. `need(arguments) -> Need` may be absent: then the stage needs nothing of the limits."""

    Arguments: type
    OUTPUTS: Mapping[str, str]  # name and meaning of what `run` returns; `rows` counts for the limit

    def run(self, arguments: Any, context: Context) -> dict[str, Any]:
        """Do the work and return every output, as JSON values. It may have been killed half-way before."""

    def promised(self, arguments: Any, folder: Path) -> list[Path]:
        """Return the files without which the stage is not done, whatever `run` says."""


def names() -> list[str]:
    """Return the stages that there are."""
    return sorted(module.name for module in pkgutil.iter_modules(stages.__path__) if not module.name.startswith("_"))


def find(name: str) -> Stage:
    """Return a stage. Raises UnknownNameError with the nearest name."""
    if name not in names():
        message = f"There is no stage '{name}'.{did_you_mean(name, names())}"
        raise UnknownNameError.of(
            "unknown_stage", message, f"Use one of: {', '.join(names())}.", path="stage", got=name
        )
    return cast(Stage, importlib.import_module(f"{stages.__name__}.{name}"))


def arguments_of(stage: Stage, given: Mapping[str, Any], source: str) -> Any:
    """Return the arguments of a stage as its dataclass. Raises RequestError with everything that is wrong."""
    return from_json(stage.Arguments, given, source)


def argument_problems(stage: Stage, given: Mapping[str, Any], source: str, *, pending: set[str]) -> list[Problem]:
    """Return what is wrong with arguments of which the `pending` ones have no value yet."""
    try:
        arguments_of(stage, given, source)
    except RequestError as error:
        return [problem for problem in error.problems if problem.path.partition(".")[0] not in pending]
    except (pydantic.PydanticUserError, TaoSkillsError) as error:
        return [Problem("stage_arguments", f"{source}: {error}", "Correct the arguments.", source)]
    return []


def need_of(stage: Stage, arguments: Any) -> Need:
    """Return what a stage will take of the limits."""
    ask = getattr(stage, "need", None)
    return Need() if ask is None else cast(Need, ask(arguments))


def argument_names(stage: Stage) -> list[str]:
    """Return the names of a stage's arguments."""
    return [each.name for each in fields(stage.Arguments)]
