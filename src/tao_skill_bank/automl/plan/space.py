"""The space of a search: the parameters that the train schema allows, as coordinates that a sampler understands."""

import math
from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Any

from tao_skill_bank.automl.plan import domain, selection
from tao_skill_bank.automl.plan.dimension import Dimension, is_same
from tao_skill_bank.automl.plan.history import Coordinate
from tao_skill_bank.automl.plan.narrowing import narrowed
from tao_skill_bank.automl.plan.options import AutomlOptions
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.bank.rules import broken
from tao_skill_bank.bank.violations import violations
from tao_skill_bank.contracts import contract
from tao_skill_bank.core import nested
from tao_skill_bank.errors import Problem, RequestError

__all__ = ["Dimension", "Space", "applied", "build", "check"]

ACTION = "train"
TOLERANCE = 1e-9


@contract
class Space:
    """The searched parameters; each comes after the one that it depends on.

    Attributes:
        pinned: values that every trial but the recipe's gets: ranges of the user with one value.
        fixed: values of parameters that are not searched, and on which searched ones depend.
        notes: sentences for the launch review: what is not searched, or in a narrower range, and why.

    """

    dimensions: tuple[Dimension, ...]
    pinned: dict[str, Any] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int | None:
        """How many points there are; None when one dimension is continuous."""
        sizes = [dimension.size for dimension in self.dimensions]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    def __getitem__(self, name: str) -> Dimension:
        return next(dimension for dimension in self.dimensions if dimension.name == name)

    def values(self, coordinates: Mapping[str, Coordinate]) -> dict[str, Any]:
        """Return what the spec gets, by path: a value of each dimension, and the pinned ones.

        A coordinate outside its dimension counts as the nearest inside.
        """
        values = dict(self.pinned)
        for dimension in self.dimensions:
            of = self._of(dimension, values)
            values[dimension.name] = dimension.value(coordinates[dimension.name], of)
        return values

    def coordinates(self, values: Mapping[str, Any]) -> dict[str, Coordinate]:
        """Return the nearest point to a spec, nested or by path."""
        return {
            dimension.name: dimension.coordinate(_get(values, dimension.name), self._of(dimension, values))
            for dimension in self.dimensions
        }

    def outside(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the searched parameters whose value in a spec, nested or by path, lies outside the space."""
        nearest = self.values(self.coordinates(values))
        return tuple(
            dimension.name
            for dimension in self.dimensions
            if not _is_close(nearest[dimension.name], _get(values, dimension.name))
        )

    def _of(self, dimension: Dimension, values: Mapping[str, Any]) -> Any:
        if dimension.of is None:
            return None
        known = _get(values, dimension.of)
        return self.fixed.get(dimension.of) if known is None else known


def build(skill: Skill, spec_values: Mapping[str, Any], given_paths: Collection[str], options: AutomlOptions) -> Space:
    """Return the space of a training's search.

    A value that the request gives pins its parameter, unless `automl.parameters`, `add` or `ranges` names it too, or
    the schema searches it `around` the request's value, which then is the given one. Ranges of the user lie inside
    the schema's search bounds (inside what can run, where the schema has none); they replace the limits around the
    request's value.

    Args:
        skill: its train schema says what can be searched.
        spec_values: the request's own nested spec: the recipe.
        given_paths: spec paths that the request set (`Spec.given`); a group stands for all in it.
        options: what the request says of the search.

    Raises:
        RequestError: every unknown, disabled or unsearchable parameter, every range outside the schema, all together;
            or nothing is left to search.

    """
    schema = skill.schema(ACTION)
    options = selection.with_full_paths(options, skill.info.spec_shorthand_keys)
    chosen = selection.select(schema, spec_values, given_paths, options)
    problems = list(chosen.problems)
    searched: dict[str, Dimension] = {}
    for path in chosen.paths:
        try:
            searched[path] = _dimension(schema, path, spec_values, options, chosen.paths)
        except RequestError as error:
            problems += error.problems
    if problems:
        raise RequestError(problems)
    searched, notes = narrowed(schema, searched, spec_values, options.ranges)
    pinned = {path: _only_value(dimension) for path, dimension in searched.items() if _has_one_value(dimension)}
    dimensions = _ordered({path: dimension for path, dimension in searched.items() if path not in pinned})
    if not dimensions:
        raise _empty(schema)
    for path, value in pinned.items():
        notes += (f"{path} is {value} in every trial but the recipe's: its range holds no other.",)
    needed = {dimension.of for dimension in dimensions if dimension.of} - searched.keys()
    fixed = {path: nested.get(spec_values, path) for path in sorted(needed)}
    return Space(dimensions, pinned, fixed, (*chosen.notes, *notes))


def applied(spec_values: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested spec with values put in by path."""
    result = dict(spec_values)
    for path, value in values.items():
        result = nested.with_value(result, path, value)
    return result


def check(skill: Skill, spec_values: Mapping[str, Any], values: Mapping[str, Any]) -> list[Problem]:
    """Return the problems of the recipe with a trial's values put in: schema and cross-field rules."""
    spec = applied(spec_values, values)
    found = list(violations(skill.schema(ACTION), spec))
    return [*found, *broken(skill.rules(ACTION), spec, {problem.path for problem in found})]


def _has_one_value(dimension: Dimension) -> bool:
    return dimension.of is None and dimension.size == 1


def _only_value(dimension: Dimension) -> Any:
    return dimension.value(dimension.choices[0] if dimension.choices else dimension.low)


def _empty(schema: Mapping[str, Any]) -> RequestError:
    message = "Nothing is left to search: every parameter is excluded, given by the request, or has one value only."
    known = ", ".join(selection.searchable(schema))
    fix = f"Name some in automl.parameters ({known}), or turn the search off: --automl-policy off"
    return RequestError.of("empty_space", message, fix, path="automl.parameters")


def _dimension(
    schema: Mapping[str, Any],
    path: str,
    spec_values: Mapping[str, Any],
    options: AutomlOptions,
    searched: Collection[str],
) -> Dimension:
    leaf = schemas.at(schema, path) or {}
    ratio_to = leaf.get("search", {}).get("ratio_to", "")
    value = nested.get(spec_values, path, leaf.get("default"))
    of_powers = ratio_to in searched and domain.takes_powers(schemas.at(schema, ratio_to) or {})
    own = domain.Own(value, nested.get(spec_values, ratio_to), of_powers)
    return domain.build(path, leaf, own, options.ranges.get(path))


def _ordered(searched: Mapping[str, Dimension]) -> tuple[Dimension, ...]:
    """Return the dimensions with each after the one that it depends on."""
    placed: dict[str, Dimension] = {}
    waiting = dict(searched)
    while waiting:
        ready = [path for path, dimension in waiting.items() if dimension.of not in waiting]
        assert ready, f"parameters that depend on each other: {', '.join(waiting)}"
        placed |= {path: waiting.pop(path) for path in ready}
    return tuple(placed.values())


def _get(values: Mapping[str, Any], path: str) -> Any:
    return values[path] if path in values else nested.get(values, path)


def _is_close(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return is_same(one, other)
