"""Gives the first of several values that there is: in a loop, what an earlier iteration gave, or else the start."""

from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import contract
from tao_skill_bank.workflows.stage import Context

OUTPUTS = {"value": "the first candidate that is not null; null where all are"}


@contract
class Arguments:
    """Values in the order of preference; null is none."""

    candidates: tuple[Any, ...]


def promised(_arguments: Arguments, _folder: Path) -> list[Path]:
    """Return no file: the value is in the log."""
    return []


def run(arguments: Arguments, _context: Context) -> dict[str, Any]:
    """Return the value."""
    return {"value": next((each for each in arguments.candidates if each is not None), None)}
