"""Regular expressions that a request or an adapter brings along: only those whose matching takes little time.

How long a pattern can take is how many ways it has to match; those of its parts multiply. A repetition or an
alternative inside a repetition has exponentially many (`(a+)+`, `(ab|a)*`).
"""

import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

MAX_LENGTH = 1000  # of a pattern
MAX_NAME = 128  # of the name of a module
MAX_WAYS = 1_000_000  # tried in about a second, from every dot of a name
ENDLESS = 30  # ways of a repetition without an end; four of them and little else are admitted
MAX_TIMES = 100

_parser: Any = re._parser  # type: ignore[attr-defined]


def matches(pattern: str, name: str) -> bool:
    """Return whether a pattern matches the whole name of a module or its last parts.

    Raises:
        ValueError: the name is too long, or as `compile_name_pattern`.

    """
    if len(name) > MAX_NAME:
        raise ValueError(f"the name of a module has more than {MAX_NAME} characters")
    return compile_name_pattern(pattern).match(name) is not None


def compile_name_pattern(pattern: str) -> re.Pattern[str]:
    """Return a compiled pattern of module names, which matches a whole name or its last parts.

    Raises:
        ValueError: it is not a regular expression, or one that could take too long.

    """
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"it has more than {MAX_LENGTH} characters")
    try:
        with warnings.catch_warnings(action="ignore"):
            parsed = _parser.parse(pattern)
            compiled = re.compile(rf"(.*\.)?({pattern})$")
        ways = _ways(parsed, repeated=False)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"it is not a regular expression: {error}") from None
    if ways > MAX_WAYS:
        raise ValueError("it has too many repetitions and alternatives")
    return compiled


def _ways(parsed: Any, *, repeated: bool) -> int:
    """Return in how many ways a parsed pattern can match, at most about; inside a repetition it must be one."""
    ways = 1
    for operation, argument in parsed:
        name = str(operation)
        if name.startswith("GROUPREF"):
            raise ValueError("it refers to a group")
        if repeated and (name == "BRANCH" or name.endswith("REPEAT")):
            raise ValueError("it has a repetition or an alternative inside a repetition")
        if name.endswith("REPEAT"):
            least, most, part = argument
            inner = _ways(part, repeated=most > 1)
            ways *= _ways_of_repeat(least, most) * inner
        else:
            inside = [_ways(part, repeated=repeated) for part in _parts(argument)]
            ways *= sum(inside) if name == "BRANCH" else math.prod(inside)
    return ways


def _ways_of_repeat(least: int, most: int) -> int:
    if least > MAX_TIMES:
        raise ValueError(f"it repeats something more than {MAX_TIMES} times")
    return min(most - least + 1, ENDLESS)


def _parts(argument: Any) -> Sequence[Any]:
    """Return the patterns inside one operation."""
    if isinstance(argument, _parser.SubPattern):
        return [argument]
    if isinstance(argument, (list, tuple)):
        return [part for item in argument for part in _parts(item)]
    return []
