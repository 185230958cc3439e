"""The overrides that resolve a violation of a schema."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.nearest_values import MISSING, accepts, nearest
from tao_skill_bank.core import nested
from tao_skill_bank.core.redact import SECRET_NAME, without_secret
from tao_skill_bank.errors import Problem

Schema = Mapping[str, Any]


def with_overrides(schema: Schema, spec: Mapping[str, Any], problem: Problem) -> Problem:
    """Return a violation with the overrides that resolve it, where there are some; its words say why these."""
    special = {
        "unknown_parameter": _unknown,
        "not_exactly_one": _not_exactly_one,
        "not_together": _not_together,
        "missing_parameter": _missing,
    }
    return special.get(problem.code, _invalid)(schema, spec, problem)


def _invalid(schema: Schema, spec: Mapping[str, Any], problem: Problem) -> Problem:
    path = leaf_path(schema, problem.path)
    leaf = schemas.at(schema, path)
    if leaf is None or (problem.fix_set and path == problem.path):  # an item of a list cannot be set by itself
        return problem
    value, why = nearest(leaf, nested.get(spec, path))
    if value is MISSING:
        if _is_required(schema, path):
            return problem
        return replace(problem, fix=f"{problem.fix.rstrip('.')}, or leave it out.", fix_set={path: None})
    is_named = leaf.get("minimum", MISSING) == leaf.get("maximum")
    return replace(problem, fix_set={path: value}) if is_named else chosen(problem, path, value, why)


def chosen(problem: Problem, path: str, value: Any, why: str) -> Problem:
    """Return a problem that setting one parameter resolves, with the reason for its value."""
    text = json.dumps(value, ensure_ascii=False)
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return replace(problem, fix=f"{problem.fix.rstrip('.')}; {shown} is {why}.", fix_set={path: value})


def leaf_path(schema: Schema, path: str) -> str:
    """Return the path of the parameter that a path is in: items of lists and keys of mappings have no override."""
    names = path.split(".")
    for count in range(1, len(names) + 1):
        found = ".".join(names[:count])
        leaf = schemas.at(schema, found)
        if leaf is None or "properties" not in leaf:
            return found
    return path


def _is_required(schema: Schema, path: str) -> bool:
    owner, _, name = path.rpartition(".")
    group = (schemas.at(schema, owner) if owner else schema) or {}
    return name in group.get("required", ())


def _unknown(schema: Schema, spec: Mapping[str, Any], problem: Problem) -> Problem:
    within = leaf_path(schema, problem.path)
    if within != problem.path and (leaf := schemas.at(schema, within)) is not None:
        value, why = nearest(leaf, nested.get(spec, within))  # a key of an item of a list
        return problem if value is MISSING else chosen(problem, within, value, why)
    value, meant = nested.get(spec, problem.path), problem.expected
    removed: dict[str, Any] = {problem.path: None}
    if value is None or SECRET_NAME.search(problem.path) or without_secret(value) != value:
        return replace(problem, fix_set=removed)
    moved = _moved(schema, meant, value) if meant is not None else {}
    if meant is None or not all(_may_be_meant(schemas.at(schema, path) or {}, new) for path, new in moved.items()):
        return replace(problem, fix_choices=(removed,))  # whether it may be dropped is for the user to say
    if any(
        nested.get(spec, path) not in (None, nested.get(schema.get("default", {}), path), new)
        for path, new in moved.items()
    ):
        return replace(problem, fix_choices=(removed, removed | moved))  # the right one is given, too
    return replace(problem, fix_set=removed | moved)


def _may_be_meant(leaf: Mapping[str, Any], value: Any) -> bool:
    """Return whether a value fits a parameter, or is a number that only its bounds refuse."""
    is_number = "enum" not in leaf and isinstance(value, (int, float)) and accepts({"type": leaf.get("type")}, value)
    return accepts(leaf, value) or is_number


def _moved(schema: Schema, meant: str, value: Any) -> dict[str, Any]:
    """Return the value of a misspelt parameter or group under its right name."""
    is_group = "properties" in (schemas.at(schema, meant) or {})
    if is_group and isinstance(value, Mapping):
        return {f"{meant}.{name}": child for name, child in nested.flatten(value)}
    return {} if is_group else {meant: value}


def _not_exactly_one(schema: Schema, _: Mapping[str, Any], problem: Problem) -> Problem:
    prefix = f"{problem.path}." if problem.path else ""
    group = schemas.at(schema, problem.path) if problem.path else schema
    names = [branch["required"][0] for branch in (group or {}).get("oneOf", ())]
    present = list(problem.got or ())
    if present:
        return replace(
            problem,
            fix=f"Keep one of {', '.join(prefix + name for name in present)}: {_deletions(prefix, present)}",
            fix_choices=tuple({prefix + other: None for other in present if other != name} for name in present[::-1]),
        )
    for name in names:
        default = (schemas.at(schema, prefix + name) or {}).get("default")
        if default is not None:
            return chosen(problem, prefix + name, default, "its default")
    return problem


def _deletions(prefix: str, names: list[str]) -> str:
    return " or ".join(f"--set {prefix}{name}=null" for name in names[::-1])


def _not_together(_: Schema, spec: Mapping[str, Any], problem: Problem) -> Problem:
    """Offer to remove a parameter that needs another one, or to give the other the same value."""
    prefix = problem.path.rpartition(".")[0]
    missing = str(problem.expected).removeprefix("together with ").split(", ")
    value = nested.get(spec, problem.path)
    both = {f"{prefix}.{name}": value for name in missing}
    return replace(problem, fix_choices=({problem.path: None}, both))


def _missing(schema: Schema, _: Mapping[str, Any], problem: Problem) -> Problem:
    """Offer to leave out an optional group that lacks a part of it; what is missing is the user's to give."""
    group = problem.path.rpartition(".")[0]
    if not group or _is_required(schema, group) or nested.get(schema.get("default", {}), group) is not None:
        return problem
    return replace(problem, fix_choices=({group: None},))
