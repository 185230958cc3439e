"""From a schema's leaf, the request's own value and a range that the user gave: the dimension that is searched."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tao_skill_bank.automl.plan.dimension import Dimension, highest_exponent, is_number, is_same, lowest_exponent
from tao_skill_bank.automl.plan.options import Range
from tao_skill_bank.errors import Problem, RequestError

POWERS, HALF = "^ 2", "/ 2"
Leaf = Mapping[str, Any]


@dataclass(frozen=True)
class Own:
    """The request's own values.

    Attributes:
        value: of the parameter.
        of: value of the parameter that it is a ratio to.
        of_powers: that one is searched, in powers of two.

    """

    value: Any
    of: Any = None
    of_powers: bool = False


def numeric(leaf: Leaf) -> Leaf | None:
    """Return the branch of a leaf that takes a number, or None."""
    branches = leaf.get("anyOf", [leaf])
    return next((branch for branch in branches if branch.get("type") in ("number", "integer")), None)


def options_of(leaf: Leaf) -> list[Any]:
    """Return the values of a leaf that takes only certain ones; empty for any other."""
    options: list[Any] = []
    for branch in leaf.get("anyOf", [leaf]):
        if "enum" in branch:
            options += branch["enum"]
        elif "const" in branch:
            options.append(branch["const"])
        elif branch.get("type") == "boolean":
            options += [False, True]
        else:
            return []
    return options


def takes_powers(leaf: Leaf) -> bool:
    """Return whether a parameter is searched in powers of two."""
    return bool(leaf.get("search", {}).get("math_cond") == POWERS)


def build(path: str, leaf: Leaf, own: Own, wanted: Range | None) -> Dimension:
    """Return the dimension of a parameter, which may have a single value.

    The user's range lies inside the schema's search bounds, where it has them, else inside what can run. The limits
    around the request's own value (`around`) are not the schema's bounds: a range replaces them, and may hold the own
    value even where it lies outside. A missing end of a range is the one that would be searched without it; of a ratio,
    the schema's.

    Raises:
        RequestError: the range lies outside, or leaves nothing to choose from.

    """
    search = leaf.get("search", {})
    if wanted is not None and wanted.choices is not None:
        return _listed(path, leaf, own, wanted.choices)
    options = options_of(leaf)
    if options:
        if wanted is not None:
            fix = f"Write {{choices: [...]}} of {', '.join(str(option) for option in options)}."
            raise _outside(path, f"automl.ranges.{path} has bounds, but {path} takes certain values only.", fix)
        return Dimension(path, "choice", choices=tuple(options), weights=tuple(leaf.get("option_weights", ())))
    if "ratio_to" in search and wanted is None and _is_positive(own.value) and _is_positive(own.of):
        return _ratio(path, leaf, own)
    low, high = _bounds(path, leaf, own, wanted)
    return _number(path, leaf, low, high)


def _number(path: str, leaf: Leaf, low: float, high: float) -> Dimension:
    search = leaf.get("search", {})
    whole = (numeric(leaf) or {}).get("type") == "integer"
    if takes_powers(leaf):
        exponents = lowest_exponent(max(low, 1 if whole else low)), highest_exponent(high)
        _refuse_empty(path, *exponents, f"no power of two lies in {low:g} to {high:g}")
        minimum, maximum = 2 ** exponents[0], 2 ** exponents[1]
        return Dimension(path, "power", *exponents, integer=whole, power=True, minimum=minimum, maximum=maximum)
    if whole:
        low, high = math.ceil(low), math.floor(high)
        _refuse_empty(path, low, high, "no whole number lies in it")
    if search.get("math_cond") == HALF and "depends_on" in leaf:
        return Dimension(path, "share", 0, 1, of=leaf["depends_on"], integer=whole, minimum=low, maximum=high)
    log = bool(search.get("log")) and low > 0
    kind: Literal["int", "float"] = "int" if whole else "float"
    return Dimension(path, kind, low, high, log=log, integer=whole, minimum=low, maximum=high)


def _ratio(path: str, leaf: Leaf, own: Own) -> Dimension:
    """Return steps of 2 around the request's own ratio; for powers of two, around the nearest ratio that gives one."""
    search = leaf["search"]
    whole = (numeric(leaf) or {}).get("type") == "integer"
    powers = takes_powers(leaf)
    true_ratio = own.value / own.of
    ratio = true_ratio
    if powers:
        ratio = 2.0 ** round(math.log2(true_ratio)) if own.of_powers else 2.0 ** round(math.log2(own.value)) / own.of
    low = lowest_exponent(true_ratio / search["around"] / ratio)
    high = highest_exponent(true_ratio * search["around"] / ratio)
    minimum = min(search.get("minimum", own.value), own.value)
    maximum = max(search.get("maximum", own.value), own.value)
    if powers:
        nearest = 2 ** round(math.log2(own.value))
        minimum = min(2 ** lowest_exponent(minimum), nearest)
        maximum = max(2 ** highest_exponent(maximum), nearest)
    return Dimension(
        path,
        "ratio",
        low,
        high,
        of=search["ratio_to"],
        integer=whole,
        power=powers,
        ratio=ratio,
        minimum=minimum,
        maximum=maximum,
    )


def _listed(path: str, leaf: Leaf, own: Own, choices: tuple[Any, ...]) -> Dimension:
    options = options_of(leaf)
    if options:
        wrong = [choice for choice in choices if not any(is_same(choice, option) for option in options)]
        if wrong:
            fix = f"Use some of: {', '.join(str(option) for option in options)}."
            raise _outside(path, f"automl.ranges.{path}.choices has {wrong[0]!r}, which {path} cannot be.", fix)
        weights = dict(zip(options, leaf.get("option_weights", ()), strict=False))
        kept = [weights[choice] for choice in choices] if weights else []
        return Dimension(path, "choice", choices=choices, weights=tuple(kept) if sum(kept) > 0 else ())
    low, high = _allowed(leaf, own)
    whole = (numeric(leaf) or {}).get("type") == "integer"
    powers = takes_powers(leaf)
    for choice in choices:
        if not is_number(choice) or (whole and choice != int(choice)):
            kind = "whole numbers" if whole else "numbers"
            raise _outside(path, f"automl.ranges.{path}.choices has {choice!r}; {path} takes {kind}.", f"Use {kind}.")
        if not _is_within(choice, leaf, low, high):
            raise _outside(path, *_outside_words(path, "choices", choice, leaf, (low, high)))
        if powers and math.log2(choice) % 1:
            fix = f"Use {2 ** highest_exponent(choice)} or {2 ** lowest_exponent(choice)}."
            raise _outside(path, f"automl.ranges.{path}.choices has {choice:g}, which is not a power of two.", fix)
    ordered = sorted(int(choice) if whole else choice for choice in choices)
    return Dimension(
        path, "choice", choices=tuple(ordered), integer=whole, power=powers, minimum=ordered[0], maximum=ordered[-1]
    )


def _bounds(path: str, leaf: Leaf, own: Own, wanted: Range | None) -> tuple[float, float]:
    """Return the ends of a numeric domain."""
    low, high = _window(leaf, own)
    if wanted is None:
        return low, high
    allowed = _allowed(leaf, own)
    for end, bound in (("minimum", wanted.minimum), ("maximum", wanted.maximum)):
        if bound is not None and not _is_within(bound, leaf, *allowed):
            raise _outside(path, *_outside_words(path, end, bound, leaf, allowed))
    if "ratio_to" in leaf.get("search", {}):
        low, high = allowed
    low = low if wanted.minimum is None else wanted.minimum
    high = high if wanted.maximum is None else wanted.maximum
    _refuse_empty(path, low, high, f"it ends before it begins: {low:g} to {high:g}")
    return low, high


def _window(leaf: Leaf, own: Own) -> tuple[float, float]:
    """Return what is searched when the user gives no range: the schema's bounds, near the request's own value."""
    search = leaf.get("search", {})
    low, high = search.get("minimum", -math.inf), search.get("maximum", math.inf)
    if "around" not in search or "ratio_to" in search or not _is_positive(own.value):
        return low, high
    nearest, farthest = _rounded(own.value / search["around"]), _rounded(own.value * search["around"])
    return min(max(nearest, low), own.value), max(min(farthest, high), own.value)


def _allowed(leaf: Leaf, own: Own) -> tuple[float, float]:
    """Return the bounds inside which a user's range must lie: the schema's, and the own value of an `around` one."""
    search, number = leaf.get("search", {}), numeric(leaf) or {}
    low = search.get("minimum", max(number.get("minimum", -math.inf), number.get("exclusiveMinimum", -math.inf)))
    high = search.get("maximum", min(number.get("maximum", math.inf), number.get("exclusiveMaximum", math.inf)))
    if "around" in search and is_number(own.value):
        low, high = min(low, own.value), max(high, own.value)
    return low, high


def _is_within(number: float, leaf: Leaf, low: float, high: float) -> bool:
    branch = numeric(leaf) or {}
    above = number > branch.get("exclusiveMinimum", -math.inf)
    return above and low <= number <= high and number < branch.get("exclusiveMaximum", math.inf)


def _outside_words(path: str, end: str, bound: float, leaf: Leaf, allowed: tuple[float, float]) -> tuple[str, str]:
    branch = numeric(leaf) or {}
    low, high = allowed
    words = []
    if low > -math.inf:
        words.append(f"{'above' if low == branch.get('exclusiveMinimum') else 'at least'} {low:g}")
    if high < math.inf:
        words.append(f"{'below' if high == branch.get('exclusiveMaximum') else 'at most'} {high:g}")
    inside = " and ".join(words) or "a number"
    return f"automl.ranges.{path}.{end} is {bound:g}; it must be {inside}.", f"Use values {inside}."


def _refuse_empty(path: str, low: float, high: float, why: str) -> None:
    if low > high:
        raise _outside(path, f"automl.ranges.{path} leaves nothing: {why}.", "Widen it.", "empty_range")


def _outside(path: str, message: str, fix: str, code: str = "range_outside_schema") -> RequestError:
    return RequestError([Problem(code, message, fix, f"automl.ranges.{path}")])


def _rounded(number: float) -> float:
    """Return a number without the rounding error of a division: 2e-05 / 10 is 2e-06."""
    return float(f"{number:.12g}")


def _is_positive(value: Any) -> bool:
    return is_number(value) and value > 0
