"""Narrows a parameter so that those which depend on it can keep their own limits at every point."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tao_skill_bank.automl.plan.dimension import Dimension, highest_exponent, is_number, lowest_exponent
from tao_skill_bank.automl.plan.domain import HALF
from tao_skill_bank.automl.plan.options import Range
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.core import nested

Limit = tuple[str, float, float, str]


def narrowed(
    schema: Mapping[str, Any],
    searched: Mapping[str, Dimension],
    spec_values: Mapping[str, Any],
    ranges: Mapping[str, Range],
) -> tuple[dict[str, Dimension], tuple[str, ...]]:
    """Return the dimensions, some of them narrower, and a sentence about each of these."""
    result, notes = dict(searched), []
    limits = [*_of_searched_ratios(searched), *_of_fixed(schema, searched, spec_values, ranges)]
    for path, minimum, maximum, why in limits:
        before = result[path]
        result[path] = _within(before, minimum, maximum)
        if result[path] != before:
            after = result[path]
            notes.append(f"{path} is searched from {after.minimum:g} to {after.maximum:g} only, so that {why}.")
    return result, tuple(notes)


def _of_searched_ratios(searched: Mapping[str, Dimension]) -> Iterator[Limit]:
    for path, dimension in searched.items():
        if dimension.kind == "ratio" and dimension.of in searched:
            lowest, highest = dimension.ratio * 2.0**dimension.low, dimension.ratio * 2.0**dimension.high
            minimum = -math.inf if dimension.minimum is None else dimension.minimum / highest
            maximum = math.inf if dimension.maximum is None else dimension.maximum / lowest
            yield str(dimension.of), minimum, maximum, f"{path} stays near the request's own ratio within its bounds"


def _of_fixed(
    schema: Mapping[str, Any],
    searched: Mapping[str, Dimension],
    spec_values: Mapping[str, Any],
    ranges: Mapping[str, Range],
) -> Iterator[Limit]:
    """Yield what parameters that are not searched demand of those that they depend on."""
    for path, leaf in schemas.leaves(schema):
        value, search = nested.get(spec_values, path), leaf.get("search", {})
        if path in searched or not is_number(value) or value <= 0:
            continue
        target, half = search.get("ratio_to", ""), leaf.get("depends_on", "")
        if target in searched and target not in ranges and (own := _positive(spec_values, target)):
            factor, why = search["around"], f"{path}, which is not searched, stays near the request's own ratio to it"
            yield target, own / factor, own * factor, why
        if search.get("math_cond") == HALF and half in searched and (own := _positive(spec_values, half)):
            yield half, min(2 * value, own), math.inf, f"{path}, which is not searched, is at most half of it"


def _positive(spec_values: Mapping[str, Any], path: str) -> float | None:
    value = nested.get(spec_values, path)
    return value if is_number(value) and value > 0 else None


def _within(dimension: Dimension, minimum: float, maximum: float) -> Dimension:
    """Return the part of a dimension inside limits of its value; the whole of it where nothing is inside."""
    if dimension.kind == "choice":
        kept = [index for index, choice in enumerate(dimension.choices) if minimum <= float(choice) <= maximum]
        choices = [dimension.choices[index] for index in kept]
        if not choices:
            return dimension
        return replace(dimension, choices=tuple(choices), minimum=float(choices[0]), maximum=float(choices[-1]))
    if dimension.kind == "power":
        low: float = max(dimension.low, lowest_exponent(minimum) if minimum > 0 else dimension.low)
        high: float = min(dimension.high, highest_exponent(maximum) if maximum < math.inf else dimension.high)
        ends: tuple[float, float] = 2 ** int(low), 2 ** int(high)
    else:
        low, high = max(dimension.low, minimum), min(dimension.high, maximum)
        low, high = (math.ceil(low), math.floor(high)) if dimension.kind == "int" else (low, high)
        ends = low, high
    return dimension if low > high else replace(dimension, low=low, high=high, minimum=ends[0], maximum=ends[1])
