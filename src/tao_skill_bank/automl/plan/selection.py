"""Which parameters a search takes: the schema's own choice, or what the request names; and why others are left out."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tao_skill_bank.automl.plan.dimension import is_number
from tao_skill_bank.automl.plan.domain import HALF, numeric, options_of
from tao_skill_bank.automl.plan.options import AutomlOptions
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.violations import nearest_path
from tao_skill_bank.core import nested
from tao_skill_bank.errors import Problem


@dataclass(frozen=True)
class Selection:
    """Paths that are searched, in the schema's order, sentences about those that are not, and mistakes."""

    paths: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]


def with_full_paths(options: AutomlOptions, shorthand: Mapping[str, str]) -> AutomlOptions:
    """Return options in which a skill's shorthand keys are spec paths."""

    def full(paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(shorthand.get(path, path) for path in paths))

    return replace(
        options,
        parameters=None if options.parameters is None else full(options.parameters),
        add=full(options.add),
        exclude=full(options.exclude),
        ranges={shorthand.get(path, path): wanted for path, wanted in options.ranges.items()},
    )


def select(
    schema: Mapping[str, Any], spec_values: Mapping[str, Any], given: Collection[str], options: AutomlOptions
) -> Selection:
    """Return what is searched.

    A value that the request gives pins its parameter, unless `automl.parameters`, `add` or `ranges` names it too, or
    its schema says `around`: such a one is searched around the given value.
    """
    origins = dict.fromkeys(options.ranges, "ranges")
    origins |= dict.fromkeys(options.add, "add") | dict.fromkeys(options.parameters or (), "parameters")
    defaults = schema["automl_default_parameters"] if options.parameters is None else ()
    problems = [_unknown(schema, path, "exclude") for path in options.exclude if schemas.at(schema, path) is None]
    paths, notes = [], []
    for path in dict.fromkeys([*defaults, *origins]):
        leaf = schemas.at(schema, path)
        if _is_in(path, options.exclude):
            continue
        if leaf is None:
            problems.append(_unknown(schema, path, origins[path]))
        elif path in origins:
            refused = _refusal(path, leaf, options) or obstacle(schema, spec_values, path)
            problems += [_not_searchable(schema, path, refused, origins[path])] if refused else []
            paths += [] if refused else [path]
        elif reason := obstacle(schema, spec_values, path):
            notes.append(f"{path} is not searched: {reason}.")
        elif _is_in(path, given) and "around" not in leaf.get("search", {}):
            value = nested.get(spec_values, path)
            notes.append(f"{path} stays {value}, as the request says; name it in automl.add to search it.")
        else:
            paths.append(path)
    order = {path: index for index, (path, _) in enumerate(schemas.leaves(schema))}
    return Selection(tuple(sorted(paths, key=lambda path: order[path])), tuple(notes), tuple(problems))


def obstacle(schema: Mapping[str, Any], spec_values: Mapping[str, Any], path: str) -> str | None:
    """Return why a parameter has no effect in this spec, or None."""
    group, _, name = path.rpartition(".")
    if group and nested.get(spec_values, group) is None:
        return f"the spec has no {group}"
    parent = (schemas.at(schema, group) if group else schema) or {}
    alternatives = [branch["required"][0] for branch in parent.get("oneOf", ()) if "required" in branch]
    prefix = f"{group}." if group else ""
    for other in alternatives if name in alternatives else ():
        if other != name and nested.get(spec_values, prefix + other) is not None:
            return f"{prefix}{other} is set in its place"
    value = nested.get(spec_values, path)
    if isinstance(value, (list, dict)) and numeric(schemas.at(schema, path) or {}):
        return "its value is not a single number"
    depends_on = _depends_on(schemas.at(schema, path) or {})
    if depends_on and not is_number(nested.get(spec_values, depends_on)):
        return f"{depends_on}, which it depends on, has no number"
    return None


def _is_in(path: str, others: Collection[str]) -> bool:
    """Return whether a path is one of others, or lies below one."""
    return any(f"{path}.".startswith(f"{other}.") for other in others)


def _depends_on(leaf: Mapping[str, Any]) -> str | None:
    """Return the parameter by whose value a searched one is computed."""
    search = leaf.get("search", {})
    found: str | None = search.get("ratio_to") or (leaf.get("depends_on") if search.get("math_cond") == HALF else None)
    return found


def searchable(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths that have a search domain and are not disabled."""
    for path, leaf in schemas.leaves(schema):
        if "search" in leaf and leaf.get("automl_enabled") is not False:
            yield path


def _refusal(path: str, leaf: Mapping[str, Any], options: AutomlOptions) -> str | None:
    """Return why a named parameter cannot be searched in any spec, or None.

    One without a search domain can be where the request gives it a whole one: values to choose from, or both bounds.
    """
    if "properties" in leaf:
        return "it is a group of parameters"
    if leaf.get("automl_enabled") is False:
        return "the skill disables it for searches"
    wanted = options.ranges.get(path)
    if "search" in leaf:
        return None
    if not numeric(leaf) and not options_of(leaf):
        return "it has no search domain"
    bounds = (wanted.minimum, wanted.maximum) if wanted else (None, None)
    whole = wanted is not None and (wanted.choices is not None or (None not in bounds and is_number(bounds[0])))
    return None if whole else "it has no search domain, and automl.ranges gives it none"


def _unknown(schema: Mapping[str, Any], path: str, key: str) -> Problem:
    known = [*searchable(schema)]
    nearest = nearest_path(path, known) or nearest_path(path, [name for name, _ in schemas.leaves(schema)])
    hint = f" Did you mean {nearest}?" if nearest else ""
    fix = f"Use {nearest}." if nearest else f"Use some of: {', '.join(known)}."
    message = f"automl.{key}: there is no parameter {path}.{hint}"
    return Problem("unknown_parameter", message, fix, f"automl.{key}", path, nearest)


def _not_searchable(schema: Mapping[str, Any], path: str, reason: str, key: str) -> Problem:
    inside = [name for name in searchable(schema) if name.startswith(f"{path}.")]
    others = inside or [name for name in searchable(schema) if name != path]
    if "single number" in reason:
        fix = f"Set {path} to one number, or remove it from automl.{key}."
    else:
        fix = f"Remove it from automl.{key}, or use some of: {', '.join(others)}."
    return Problem("not_searchable", f"automl.{key}: {path} cannot be searched: {reason}.", fix, f"automl.{key}", path)
