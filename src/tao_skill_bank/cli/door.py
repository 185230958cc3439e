"""The door of the command line: an argument is one plain line, unless its option takes prose."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.core import plain_text
from tao_skill_bank.errors import Problem, RequestError

PROSE = ("say", "sets", "automl", "question", "answer")  # what --set and --automl give is checked with the request


def guard(command: Any) -> None:
    """Let every command below `command` refuse arguments that could be mistaken for something else."""
    for child in getattr(command, "commands", {}).values():
        guard(child)
    if command.callback is not None:
        command.callback = _guarded(command.callback)


def require_plain(arguments: Mapping[str, Any]) -> None:
    """Refuse control characters and lengths that no name has. Raises RequestError with every such argument."""
    problems = []
    for name, given in arguments.items():
        for value in given if isinstance(given, (list, tuple)) else (given,):
            if fault := _fault(name, value):
                shown, option = plain_text.quoted(str(value)), name.strip("_").replace("_", "-")
                message = f"The argument {option} {fault}: '{shown}'."
                problems.append(Problem("hostile_text", message, f"Correct {option}.", option, shown))
    if problems:
        raise RequestError(problems)


def _fault(name: str, value: Any) -> str:
    if isinstance(value, Path):
        return plain_text.fault_of_path(str(value))
    if not isinstance(value, str):
        return ""
    return plain_text.fault_of_prose(value) if name in PROSE else plain_text.fault_of_line(value)


def _guarded(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def through_the_door(**arguments: Any) -> Any:
        require_plain(arguments)
        return callback(**arguments)

    return through_the_door
