"""Cross-field rules of a spec, declared next to its dataclass and run in the same pass as the schema."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.core import nested
from tao_skill_bank.errors import Problem, RequestError


@dataclass(frozen=True)
class Rule:
    """A condition over several fields.

    Attributes:
        reads: dotted paths whose values are passed to `check`, None for an absent one.
        check: returns the problem, or None when the rule holds.
    """

    reads: tuple[str, ...]
    check: Callable[..., Problem | None]


def broken(rules: Iterable[Rule], spec: Mapping[str, Any], invalid_paths: set[str]) -> Iterator[Problem]:
    """Yield the problem of every broken rule; rules that read an invalid value are skipped."""
    for rule in rules:
        if not any(same_branch(path, invalid) for path in rule.reads for invalid in invalid_paths):
            problem = rule.check(*(nested.get(spec, path) for path in rule.reads))
            if problem is not None:
                yield problem


def require(rules: Iterable[Rule], spec: Mapping[str, Any]) -> None:
    """Raise RequestError with the problem of every broken rule, for a spec whose single values are valid."""
    if problems := list(broken(rules, spec, set())):
        raise RequestError(problems)


def same_branch(path: str, other: str) -> bool:
    """Return whether one dotted path equals the other or is below it."""
    return f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")
