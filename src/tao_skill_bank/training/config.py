"""Reads the one file that configures a run."""

import json
import tomllib
from pathlib import Path
from typing import TypeVar

import pydantic

from tao_skill_bank.errors import Problem, RequestError, UnknownNameError

T = TypeVar("T")


def load_spec(kind: type[T], path: Path) -> T:
    """Return the spec dataclass `kind` that a TOML file holds.

    Validation goes through JSON because the dataclasses are strict: there a list is a valid tuple and an int a float.

    Raises:
        UnknownNameError: the file does not exist.
        RequestError: the file is no TOML, or does not fit the dataclass; every problem at once.

    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnknownNameError.of("missing_config", f"Config {path} does not exist.", "Give a TOML file.") from None
    except (OSError, ValueError) as error:
        raise RequestError.of("invalid_toml", f"Config {path} is no TOML: {error}", "Write valid TOML.") from None
    try:
        return pydantic.TypeAdapter(kind).validate_json(json.dumps(document))
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestError([_problem(path, detail["loc"], detail["msg"]) for detail in details]) from None


def _problem(path: Path, location: tuple[int | str, ...], message: str) -> Problem:
    where = ".".join(str(part) for part in location)
    return Problem("invalid_spec", f"{path.name}: {where}: {message}.", f"Correct {where}.", path=where)
