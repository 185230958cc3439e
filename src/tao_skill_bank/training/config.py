"""Reads the one file that configures a run."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from tao_skill_bank.bank.schema import spec_schema
from tao_skill_bank.bank.violations import violations
from tao_skill_bank.core import numbers
from tao_skill_bank.core.limits import TOO_DEEP, is_too_deep
from tao_skill_bank.errors import RequestError, UnknownNameError

T = TypeVar("T")


def load_spec(kind: type[T], path: Path) -> T:
    """Return the spec dataclass `kind` that a TOML file holds; a date in it is its text.

    Raises:
        UnknownNameError: the file does not exist.
        RequestError: the file is not TOML or nested too deep, or violates the schema of the dataclass.

    """
    return spec_of(kind, read_document(path))


def read_document(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds. Raises UnknownNameError without it, RequestError if it is not TOML."""
    try:
        return _document(path)
    except FileNotFoundError:
        raise UnknownNameError.of("missing_config", f"Config {path} does not exist.", "Give a TOML file.") from None
    except (OSError, ValueError) as error:
        raise RequestError.of("invalid_toml", f"Config {path} is not TOML: {error}", "Write valid TOML.") from None


def spec_of(kind: type[T], document: Mapping[str, Any]) -> T:
    """Return the spec dataclass `kind` of a document.

    It is built from JSON because that is strict: there a list is a valid tuple and an int a float.

    Raises:
        RequestError: it violates the schema of the dataclass; every problem at once, reported like those of a
            request that sets the same values.

    """
    text = json.dumps(document, default=str)
    values = json.loads(text)
    problems = list(violations(spec_schema(kind), values))
    invalid = {problem.path for problem in problems}
    problems += [problem for problem in numbers.problems(values) if problem.path not in invalid]
    if problems:
        raise RequestError(problems)
    return pydantic.TypeAdapter(kind).validate_json(text)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if is_too_deep(document):
        raise ValueError(TOO_DEEP)
    return document
