"""Overrides that are proposed to a user, each tried before: they resolve their problem and cause no other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.errors import Problem

MAX_ROUNDS = 6  # a fix may break a rule, whose own fix may break the next one
MAX_TRIED = 32  # problems of one request; every trial builds its spec again

Overrides = Mapping[str, Any]
Check = Callable[[Overrides], Sequence[Problem]]  # the problems of the request with overrides added


def proven(problems: Sequence[Problem], check: Check) -> list[Problem]:
    """Return problems with those of their fixes that work alone; such a fix may be completed by what it needs."""
    known = {_key(problem) for problem in problems}
    by_path = {problem.path: problem.fix_set for problem in problems if problem.fix_set}
    return [
        _proven(_with_that_of(problem, by_path), known, check)
        if index < MAX_TRIED
        else replace(problem, fix_set={}, fix_choices=())
        for index, problem in enumerate(problems)
    ]


def _with_that_of(problem: Problem, by_path: Mapping[str, Overrides]) -> Problem:
    """Return a problem without a fix with the one of another problem of the same parameter."""
    has_fix = problem.fix_set or problem.fix_choices
    return problem if has_fix else replace(problem, fix_set=by_path.get(problem.path, {}))


def _proven(problem: Problem, known: set[tuple[str, str]], check: Check) -> Problem:
    others = known - {_key(problem)}
    fix_set = complete(problem.fix_set, check, others) if problem.fix_set else None
    choices = [complete(choice, check, others) for choice in problem.fix_choices]
    return replace(problem, fix_set=fix_set or {}, fix_choices=tuple(choice for choice in choices if choice))


def proven_findings(findings: Sequence[Finding], check: Check) -> list[Finding]:
    """Return findings with those of their fixes that the request takes; their own values must stay as they are."""
    return [_proven_finding(found, check) if found.fix_set or found.fix_choices else found for found in findings]


def _proven_finding(found: Finding, check: Check) -> Finding:
    fix_set = _extended(found.fix_set, check)
    choices = (_extended(choice, check) for choice in found.fix_choices)
    return replace(found, fix_set=fix_set, fix_choices=tuple(choice for choice in choices if choice))


def _extended(overrides: Overrides, check: Check) -> dict[str, Any]:
    """Return overrides with what they need; nothing where that replaces one of them."""
    whole = (complete(overrides, check) if overrides else None) or {}
    return whole if all(whole.get(path) == value for path, value in overrides.items()) else {}


def complete(overrides: Overrides, check: Check, others: set[tuple[str, str]] | None = None) -> dict[str, Any] | None:
    """Return overrides with all that they need in addition; None if they leave a problem.

    Args:
        overrides: what is to be set.
        check: tries overrides.
        others: (code, path) of problems that may stay.

    """
    tried = dict(overrides)
    for _ in range(MAX_ROUNDS):
        left = [problem for problem in check(tried) if _key(problem) not in (others or set())]
        if not left:
            return tried
        before = dict(tried)
        for problem in left:
            tried |= _resolving(problem, overrides)
        if tried == before:
            return None
    return None


def _resolving(problem: Problem, decided: Overrides) -> Overrides:
    """Return the overrides of a problem; a choice where the decided parameters leave only one."""
    if problem.fix_set:
        return problem.fix_set
    possible = [choice for choice in problem.fix_choices if not set(choice) & set(decided)]
    return possible[0] if len(possible) == 1 else {}


def _key(problem: Problem) -> tuple[str, str]:
    return problem.code, problem.path
