"""The valid value of a parameter that is nearest to an invalid one."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tao_skill_bank.bank.validator import validator
from tao_skill_bank.core import numbers
from tao_skill_bank.core.numbers import LARGEST

MISSING: Any = object()
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
BY_SPELLING, BY_DEFAULT = "the nearest", "the default"
WORD_CUTOFF = 0.7  # of short words, which share letters by chance
CUTOFF = 0.5  # of difflib: half of the letters are the same, in this order
Leaf = Mapping[str, Any]


def nearest(leaf: Leaf, value: Any) -> tuple[Any, str]:
    """Return the nearest valid value of a parameter, else its default, and which of them it is; MISSING for neither.

    Args:
        leaf: the schema of the parameter.
        value: what was given instead, of any type.

    """
    for candidate in _near(leaf, value):
        if accepts(leaf, candidate):
            return candidate, BY_SPELLING
    if "default" in leaf and accepts(leaf, leaf["default"]):
        return leaf["default"], BY_DEFAULT
    return next(((each, BY_SPELLING) for each in _any(leaf) if accepts(leaf, each)), (MISSING, ""))


def accepts(leaf: Leaf, value: Any) -> bool:
    """Return whether a value satisfies a schema, and every number in it is one that a run can use."""
    return bool(validator(leaf).is_valid(value)) and not any(numbers.problems(value))


def _near(leaf: Leaf, value: Any) -> Iterator[Any]:
    """Yield values that resemble the given one, the most similar first; not all of them are valid."""
    for branch in leaf.get("anyOf", ()):
        yield from _near({**branch, "default": leaf.get("default")}, value)
    members = leaf.get("enum", [leaf["const"]] if "const" in leaf else [])
    yield from _members(members, value)
    by_type = {"integer": _numbers, "number": _numbers, "boolean": _booleans, "string": _texts, "array": _lists}
    by_type["object"] = _mappings
    if not members and leaf.get("type") in by_type:
        yield from by_type[str(leaf["type"])](leaf, value)


def _any(leaf: Leaf) -> Iterator[Any]:
    """Yield valid values that have nothing to do with a given one, for a parameter without a default."""
    yield from leaf.get("enum", ())
    if leaf.get("type") in ("integer", "number"):
        yield from _numbers(leaf, leaf.get("minimum", leaf.get("exclusiveMinimum", -1) + 1))


def _members(members: Sequence[Any], value: Any) -> Iterator[Any]:
    by_text = {str(member).lower(): member for member in members}
    for found in difflib.get_close_matches(str(value).lower(), by_text, n=1, cutoff=CUTOFF):
        yield by_text[found]


def _numbers(leaf: Leaf, value: Any) -> Iterator[Any]:
    """Yield a number within the bounds; a bound of fractions that is itself excluded is not valid."""
    number = _number(value)
    if number is None:
        return
    is_integer = leaf["type"] == "integer"
    step = 1 if is_integer else 0
    lowest = max(-LARGEST, leaf.get("minimum", -math.inf), leaf.get("exclusiveMinimum", -math.inf) + step)
    highest = min(LARGEST, leaf.get("maximum", math.inf), leaf.get("exclusiveMaximum", math.inf) - step)
    bounded = min(max(number, lowest), highest)
    yield round(bounded) if is_integer else bounded


def _number(value: Any) -> float | None:
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        with suppress(ValueError):
            value = int(value)
        with suppress(ValueError):
            value = float(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and not (isinstance(value, float) and math.isnan(value)) else None


def _booleans(_: Leaf, value: Any) -> Iterator[Any]:
    for found in difflib.get_close_matches(str(value).lower(), (*TRUE, *FALSE), n=1, cutoff=WORD_CUTOFF):
        yield found in TRUE


def _texts(leaf: Leaf, value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield str(value).lower()
    elif isinstance(value, (int, float, str)):
        text = str(value).strip()
        yield from (text, f"http://{text}") if "http" in leaf.get("pattern", "") else (text,)


def _lists(leaf: Leaf, value: Any) -> Iterator[Any]:
    items = leaf.get("items", {})
    given = list(value) if isinstance(value, (list, tuple)) else [value]
    defaults = leaf["default"] if isinstance(leaf.get("default"), (list, tuple)) else []
    repaired: list[Any] = []
    for index, item in enumerate(given):
        default = {"default": defaults[index]} if index < len(defaults) and "enum" not in items else {}
        found = next((each for each in _near_or_same({**items, **default}, item) if accepts(items, each)), MISSING)
        if found is MISSING and "enum" not in items:
            return  # without it, the list would mean something else
        if found is not MISSING and found not in ([] if "enum" not in items else repaired):
            repaired.append(found)
    repaired += defaults[len(repaired) : leaf.get("minItems", 0)]
    yield repaired[: leaf.get("maxItems", len(repaired))]


def _near_or_same(leaf: Leaf, value: Any) -> Iterator[Any]:
    yield value
    yield from _near(leaf, value)
    if "default" in leaf:
        yield leaf["default"]


def _mappings(leaf: Leaf, value: Any) -> Iterator[Any]:
    """Yield the mapping without names that have no place there, and with valid values."""
    if not isinstance(value, Mapping):
        return
    children, others = leaf.get("properties", {}), leaf.get("additionalProperties", True)
    repaired = {}
    for name, child in value.items():
        schema = children.get(name, others)
        if schema is False or not accepts(leaf.get("propertyNames", {}), name):
            continue
        found = child if schema is True else nearest(schema, child)[0]
        if found is MISSING:
            return
        repaired[name] = found
    yield repaired
