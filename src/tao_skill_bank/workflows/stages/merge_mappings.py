"""Merges mappings, such as overrides that a run is given and one that a step found."""

from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import contract
from tao_skill_bank.workflows.stage import Context

OUTPUTS = {"value": "the mapping with the keys of all"}


@contract
class Arguments:
    """Mappings; of a key that several have, the last one counts. Null is none."""

    parts: tuple[dict[str, Any] | None, ...]


def promised(_arguments: Arguments, _folder: Path) -> list[Path]:
    """Return no file: the value is in the log."""
    return []


def run(arguments: Arguments, _context: Context) -> dict[str, Any]:
    """Return the mapping."""
    return {"value": {key: value for part in arguments.parts if part for key, value in part.items()}}
