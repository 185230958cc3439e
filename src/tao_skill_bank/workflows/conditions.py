"""Compares a value with a constant, by one of seven operators."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

from tao_skill_bank.core import numbers
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.workflows.declaration import ORDERED, Condition
from tao_skill_bank.workflows.references import Reference

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def hold(conditions: Sequence[Condition], lookup: Callable[[Reference], Any]) -> bool:
    """Return whether all conditions hold. Raises BlockedError for a value that cannot be compared."""
    return all(_holds(each, lookup(Reference.of(each.value))) for each in conditions)


def text(conditions: Sequence[Condition]) -> str:
    """Return conditions as people read them."""
    return " and ".join(f"{each.value} {each.op} {each.constant}" for each in conditions)


def _holds(condition: Condition, value: Any) -> bool:
    constant = condition.constant
    if condition.op == "in":
        return any(_equal(value, each) for each in constant)
    if condition.op not in ORDERED:
        return _equal(value, constant) is (condition.op == "==")
    number = numbers.finite(value)
    if number is None:
        message = f"{condition.value} is {value!r}, which cannot be compared with {condition.op} {constant}."
        fix = "Compare an output that is a number, or correct the step that gives it."
        raise BlockedError.of("value_not_comparable", message, fix, path=condition.value, got=value)
    return COMPARISONS[condition.op](number, constant)


def _equal(value: Any, constant: Any) -> bool:
    return bool(value == constant) and isinstance(value, bool) == isinstance(constant, bool)
