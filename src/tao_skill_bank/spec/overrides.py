"""Overrides of a request, and others added to them, such as those of a command line to those of a file."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tao_skill_bank.bank import schema as schemas

Overrides = Mapping[str, Any]


def assignments(overrides: Overrides, schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) of every leaf of nested or dotted overrides; a schema leaf keeps a dict whole."""
    for key, value in overrides.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        known = schemas.at(schema, path)
        is_leaf = known is not None and "properties" not in known
        if isinstance(value, Mapping) and value and not is_leaf:
            yield from assignments(value, schema, path)
        elif value != {} or is_leaf:
            yield path, value


def merged(overrides: Overrides, added: Overrides, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return overrides with others added, which win and come last.

    A null for what cannot be set (an unknown name, a value in place of a group) takes back what the overrides set
    there; without such an override it stays, and is refused as the deletion of an unknown parameter.
    """
    result = {key: value for key, value in overrides.items() if key not in added}
    cancelled = {path for path, value in added.items() if is_cancelled(overrides, path, value, schema)}
    if cancelled:
        pairs = assignments(overrides, schema)
        result = {path: value for path, value in pairs if not is_taken_back(path, cancelled, schema)}
        result = {path: value for path, value in result.items() if path not in added}
    return result | {path: value for path, value in added.items() if path not in cancelled}


def is_taken_back(path: str, cancelled: Iterable[str], schema: Mapping[str, Any]) -> bool:
    """Return whether one of the nulls takes an override back: of that name, or of a part of an unknown group."""
    return any(path == wrong or (schemas.at(schema, wrong) is None and _is_below(path, wrong)) for wrong in cancelled)


def is_cancelled(overrides: Overrides, path: str, value: Any, schema: Mapping[str, Any]) -> bool:
    """Return whether an added value only takes back what overrides set, where nothing can be set."""
    if value is not None:
        return False
    given = [(other, value) for other, value in assignments(overrides, schema) if _is_below(other, path)]
    known = schemas.at(schema, path)
    if known is None:
        return bool(given)
    return "properties" in known and any(other == path and old is not None for other, old in given)


def _is_below(path: str, other: str) -> bool:
    return f"{path}.".startswith(f"{other}.")
