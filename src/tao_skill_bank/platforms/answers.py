"""What an engine answers, in its own words: refusals, known or not, and answers that are not understood."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tao_skill_bank.contracts import Finding
from tao_skill_bank.errors import BackendError, BlockedError, Problem, TaoSkillsError

MAX_CHARACTERS = 8000  # of an answer that is repeated
CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[^\S ]+|[\x00-\x1f\x7f-\x9f]")


class RefusedError(BlockedError, BackendError):
    """An engine answered and refuses, by a limit, a policy or a plugin; one job that it refuses hides no other."""


@dataclass(frozen=True)
class Known:
    """A refusal that this release knows: what its text matches, and what to do about it."""

    pattern: re.Pattern[str]
    code: str
    message: str
    fix: str
    path: str


def words(text: str) -> str:
    """Return a text as one line without control characters; what is cut of a very long one is counted."""
    line = " ".join(CONTROL.sub(" ", text).split())
    if len(line) <= MAX_CHARACTERS:
        return line
    return f"{line[:MAX_CHARACTERS]} ... ({len(line) - MAX_CHARACTERS} more characters)"


def matching(known: Iterable[Known], text: str) -> Known | None:
    """Return the first known refusal that a text matches."""
    return next((found for found in known if found.pattern.search(text[:MAX_CHARACTERS])), None)


def refusal(engine: str, said: str, known: Known | None, otherwise: Known) -> Problem:
    """Return the problem of a refusal with everything that the engine said; `otherwise` is of an unknown one."""
    found = known or otherwise
    return Problem(found.code, f"{found.message} {engine} reports: {words(said)}", found.fix, found.path)


def not_understood(code: str, program: str, line: str, fix: str) -> BackendError:
    """Return the error of an answer in a form that is not known, with the line that shows it."""
    message = f"The answer of {program} is not understood: '{words(line)}'"
    return BackendError.of(code, message, fix, path=program)


def findings(error: TaoSkillsError) -> list[Finding]:
    """Return what an error of an engine means for a plan.

    A refusal blocks. An engine that cannot be reached or understood from here is a warning that blocks the launch: the
    plan may run elsewhere.
    """
    is_elsewhere = isinstance(error, BackendError) and error.exit_code == BackendError.exit_code
    return [elsewhere(found) if is_elsewhere else _blocking(found) for found in error.problems]


def elsewhere(problem: Problem) -> Finding:
    """Return the warning about an engine that cannot be asked from this machine."""
    evidence = {"blocks_run": True, "unreachable": True}
    return Finding(problem.code, "warning", problem.message, problem.fix, problem.path, evidence)


def first_line(text: str, *, starting: Sequence[str] = ("",)) -> str:
    """Return the first line that is not blank and starts in one of these ways; empty without any."""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line and line.startswith(tuple(starting))), "")


def _blocking(problem: Problem) -> Finding:
    return Finding(problem.code, "blocking", problem.message, problem.fix, problem.path)
