"""Regular expressions that a request or an adapter brings along: only those whose matching takes little time.

A repetition inside another one, or an alternative inside one, can take exponential time (`(a+)+`, `(a|a)*`).
"""

import re
import warnings
from typing import Any

MAX_LENGTH = 1000
MAX_ENDLESS = 4  # a name of 100 characters is then tried in a fraction of a second
MAX_CHOICES = 12
MANY = 20  # more repetitions than this count as without an end

_parser: Any = re._parser  # type: ignore[attr-defined]


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
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"it is not a regular expression: {error}") from None
    endless, choices = _choices(parsed, inside=False)
    if endless > MAX_ENDLESS or choices > MAX_CHOICES:
        raise ValueError(f"it has more than {MAX_ENDLESS} repetitions without an end, or {MAX_CHOICES} choices in all")
    return compiled


def _choices(parsed: Any, *, inside: bool) -> tuple[int, int]:
    """Return how many repetitions without an end a parsed pattern has, and how many choices of any kind."""
    endless = choices = 0
    for operation, argument in parsed:
        name = str(operation)
        least, most = argument[:2] if name.endswith("REPEAT") else (1, 1)
        is_choice = least != most or name == "BRANCH"
        if name.startswith("GROUPREF"):
            raise ValueError("it refers to a group")
        if inside and is_choice:
            raise ValueError("it has a repetition or an alternative inside a repetition")
        endless += most > MANY
        choices += is_choice
        for part in _parts(argument):
            more = _choices(part, inside=inside or most > 1)
            endless, choices = endless + more[0], choices + more[1]
    return endless, choices


def _parts(argument: Any) -> list[Any]:
    """Return the patterns inside one operation."""
    if isinstance(argument, _parser.SubPattern):
        return [argument]
    if isinstance(argument, (list, tuple)):
        return [part for item in argument for part in _parts(item)]
    return []
