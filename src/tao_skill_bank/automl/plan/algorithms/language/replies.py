"""Parses a model's reply strictly: a JSON object with values of the space. Every mistake is named for the model."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tao_skill_bank.automl.plan.algorithms import points
from tao_skill_bank.automl.plan.algorithms.language import prompt
from tao_skill_bank.automl.plan.algorithms.points import Point
from tao_skill_bank.automl.plan.dimension import Dimension, highest_exponent, is_number, is_same, lowest_exponent
from tao_skill_bank.automl.plan.history import Coordinate
from tao_skill_bank.automl.plan.space import Space
from tao_skill_bank.bank.catalog import did_you_mean
from tao_skill_bank.core import tags

TOLERANCE = 1e-9
MAX_SHOWN = 200  # characters of a wrong value
SMALLEST, LARGEST = 1e-100, 1e100
Range = tuple[int | float, int | float]


class ReplyError(ValueError):
    """The problems of a reply, in sentences that the model can act on."""

    def __init__(self, *complaints: str) -> None:
        super().__init__(" ".join(complaints))


def document(text: str, fields: Mapping[str, type]) -> dict[str, Any]:
    """Return the JSON object of a reply, which may stand in a fence or between sentences.

    Args:
        text: the reply.
        fields: the keys that it must have, and no others, each with its type.

    Raises:
        ReplyError: there is no such object.

    """
    said = tags.without(text, "think")
    start, end = said.find("{"), said.rfind("}")
    if start < 0 or end < start:
        raise ReplyError("The reply holds no JSON object.")
    try:
        parsed = json.loads(said[start : end + 1], object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ReplyError(f"The reply is not one JSON object: {str(error)[:MAX_SHOWN]}.") from None
    complaints = [f"There is no key '{key}'.{did_you_mean(key, fields)}" for key in parsed if key not in fields]
    for key, kind in fields.items():
        if key not in parsed:
            complaints.append(f"The key '{key}' is missing.")
        elif type(parsed[key]) is not kind:
            complaints.append(f"'{key}' is {_shown(parsed[key])}; it must be {prompt.TYPES[kind]}.")
        elif kind is str and not parsed[key].strip():
            complaints.append(f"'{key}' is empty.")
    if complaints:
        raise ReplyError(*complaints)
    return dict(parsed)


def point(values: Mapping[str, Any], space: Space) -> Point:
    """Return the point whose values a reply gives.

    Raises:
        ReplyError: a value is missing, or no point has it.

    """
    names = [dimension.name for dimension in space.dimensions]
    complaints = list(_unknown(values, names))
    complaints += [f"The value of {name} is missing." for name in names if name not in values]
    coordinates: Point = {}
    nearest: dict[str, Any] = {**space.fixed, **space.pinned}
    for dimension in space.dimensions:
        of = nearest[dimension.of] if dimension.of else None
        value = values.get(dimension.name)
        coordinates[dimension.name] = _nearest(dimension, value, of)
        nearest[dimension.name] = dimension.value(coordinates[dimension.name], of)
        if dimension.name in values and not _is_close(nearest[dimension.name], value):
            hint = "" if dimension.kind == "choice" else f" The nearest is {nearest[dimension.name]:.6g}."
            complaints.append(
                f"{dimension.name} is {_shown(value)}; it must be {prompt.domain(dimension, space)}.{hint}"
            )
    if complaints:
        raise ReplyError(*complaints)
    return coordinates


def _nearest(dimension: Dimension, value: Any, of: Any) -> Coordinate:
    at = dimension.coordinate(None if is_number(value) and not _is_usable(value) else value, of)
    if dimension.kind != "choice":
        return at
    allowed = [choice for choice, _ in points.options(dimension)]
    return at if any(is_same(at, choice) for choice in allowed) else allowed[0]


def narrowed(ranges: Mapping[str, Any], space: Space) -> Space:
    """Return the part of a space that a reply names: [low, high] or a list of choices, by parameter.

    Raises:
        ReplyError: a range does not lie in the space.

    """
    complaints = list(_unknown(ranges, [dimension.name for dimension in space.dimensions]))
    dimensions = []
    for dimension in space.dimensions:
        try:
            dimensions.append(_narrowed(dimension, ranges[dimension.name]) if dimension.name in ranges else dimension)
        except ReplyError as error:
            complaints.append(f"{dimension.name}: {error} It must lie in: {prompt.domain(dimension, space)}.")
    if complaints:
        raise ReplyError(*complaints)
    return replace(space, dimensions=tuple(dimensions))


def _narrowed(dimension: Dimension, wanted: Any) -> Dimension:
    if dimension.of is not None:
        raise ReplyError(f"its range follows from {dimension.of}; leave it out.")
    if not isinstance(wanted, list) or not wanted:
        raise ReplyError(f"{_shown(wanted)} is not a list.")
    if dimension.kind == "choice":
        offered = dict(enumerate(points.options(dimension)))
        places = [[at for at, (choice, _) in offered.items() if is_same(choice, value)] for value in wanted]
        if not all(places):
            raise ReplyError(f"{_shown(wanted)} names a choice that it does not have.")
        kept = sorted({found[0] for found in places})
        return replace(
            dimension, choices=tuple(offered[at][0] for at in kept), weights=tuple(offered[at][1] for at in kept)
        )
    low, high = _range(dimension, wanted)
    if not dimension.low <= low <= high <= dimension.high:
        raise ReplyError(f"{_shown(wanted)} is not a range inside it.")
    return replace(dimension, low=low, high=high)


def _range(dimension: Dimension, wanted: list[Any]) -> Range:
    """Return the coordinates of a range's ends."""
    if len(wanted) != 2 or not all(is_number(end) and _is_usable(end) for end in wanted):
        raise ReplyError(f"{_shown(wanted)} is not [low, high].")
    low, high = wanted
    if dimension.kind == "power":
        if low <= 0 or high <= 0:
            raise ReplyError(f"{_shown(wanted)} holds no powers of two.")
        return lowest_exponent(low), highest_exponent(high)
    return (math.ceil(low), math.floor(high)) if dimension.kind == "int" else (low, high)


def _unknown(given: Mapping[str, Any], names: list[str]) -> Iterator[str]:
    for name in given:
        if name not in names:
            yield f"There is no parameter '{name[:MAX_SHOWN]}'.{did_you_mean(name, names)}"


def _is_usable(number: float) -> bool:
    """Return whether a number can be multiplied and divided: JSON has larger and smaller ones than floats have."""
    return number == 0 or SMALLEST <= abs(number) <= LARGEST


def _is_close(one: Any, other: Any) -> bool:
    if is_number(one) and is_number(other) and _is_usable(other):
        return math.isclose(one, other, rel_tol=TOLERANCE)
    return is_same(one, other)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:MAX_SHOWN]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
