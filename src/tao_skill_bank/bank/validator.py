"""The validator of specs, for which a number is what it is for a spec dataclass."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any


def validator(schema: Mapping[str, Any]) -> Any:
    """Return a validator that takes no more for a number than a spec dataclass does: no 3.0 for 3, no infinities."""
    return _kind()(schema)


@cache
def _kind() -> Any:
    import jsonschema  # only where a spec is checked: most of what imports this room checks none

    base: Any = jsonschema.Draft202012Validator
    types = base.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_number})
    extend: Any = jsonschema.validators.extend
    return extend(base, type_checker=types)


def _is_integer(_checker: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_checker: Any, value: Any) -> bool:
    return _is_integer(_checker, value) or (isinstance(value, float) and math.isfinite(value))
