"""Job ids that may be meant by an unknown one: only for commands that read."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

from tao_skill_bank.errors import Problem, UnknownNameError

P = ParamSpec("P")
R = TypeVar("R")


def suggests_jobs(function: Callable[P, R]) -> Callable[P, R]:
    """Let a command that changes no job add similar ids to the error of an unknown one."""

    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return function(*arguments, **options)
        except UnknownNameError as error:
            if options.get("adopt"):
                raise
            raise UnknownNameError([_suggested(problem) for problem in error.problems]) from None

    return call


def _suggested(problem: Problem) -> Problem:
    from tao_skill_bank.jobs.store import JobStore

    similar = JobStore().similar(problem.path) if problem.code == "unknown_job" else []
    return replace(problem, fix=f"Did you mean {' or '.join(similar)}? {problem.fix}") if similar else problem
