"""The exceptions a caller may catch. A user's mistake raises one of these, never anything else.

TaoSkillsError
 +- RequestError        exit 2   decided by request, schema and skill_info alone
 +- BlockedError        exit 3   the data, the machine or the policy forbids it (exit 4: only credentials do)
 +- UnknownNameError    exit 5   a named skill, action, job or checkpoint does not exist
 +- BackendError        exit 6   a platform's engine cannot be reached
 +- ConflictError       exit 7   terminal job, duplicate, stale plan hash
 +- JobFailedError      exit 8   the job itself failed
 +- StillRunningError   exit 9   the job had not ended at the timeout
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Problem:
    """One problem with the user's input, and its fix.

    Attributes:
        code: stable slug, such as `unknown_parameter`.
        message: one sentence that names the cause.
        fix: the exact change that resolves it.
        path: where: a dotted spec path, a file, or a record index.
        got, expected: the offending value and what would be valid, when that helps.
        fix_set: the overrides that resolve it, as dotted spec keys and values to paste (null deletes a key). `fix`
            says why these values, where others would do as well.
        fix_choices: such overrides, one of which resolves it, where only the user can decide; `fix_set` is empty then.

    """

    code: str
    message: str
    fix: str
    path: str = ""
    got: Any = None
    expected: Any = None
    fix_set: Mapping[str, Any] = field(default_factory=dict)
    fix_choices: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        """Return its fields; those of overrides where there are some."""
        fields = asdict(self)
        return {name: value for name, value in fields.items() if value or not name.startswith("fix_")}


class TaoSkillsError(Exception):
    """Base of every error a user can cause; carries all problems found in one pass."""

    exit_code = 1
    following: Sequence[str] = ()  # what to run next, where whoever failed knows it

    def __init__(self, problems: Sequence[Problem], exit_code: int | None = None) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = tuple(problems)
        if exit_code is not None:
            self.exit_code = exit_code

    @classmethod
    def of(cls, code: str, message: str, fix: str, **where: Any) -> Self:
        """Build the error of a single problem."""
        return cls([Problem(code=code, message=message, fix=fix, **where)])


class RequestError(TaoSkillsError):
    """The request contradicts the schema or itself."""

    exit_code = 2


class BlockedError(TaoSkillsError):
    """The data, the machine or the policy forbids the launch."""

    exit_code = 3


class UnknownNameError(TaoSkillsError):
    """A named skill, action, job or checkpoint does not exist."""

    exit_code = 5


class BackendError(TaoSkillsError):
    """A platform's engine cannot be reached."""

    exit_code = 6


class ConflictError(TaoSkillsError):
    """The state on disk forbids it: terminal job, duplicate, stale plan hash."""

    exit_code = 7


class JobFailedError(TaoSkillsError):
    """The job ran and failed."""

    exit_code = 8


class StillRunningError(TaoSkillsError):
    """The job has not ended, which says nothing about how it will."""

    exit_code = 9


class MissingExtraError(BlockedError):
    """A command needs an optional dependency that is not installed."""

    @classmethod
    def for_module(cls, module: str, extra: str) -> "MissingExtraError":
        """Build the error that names the pip command for `module`."""
        return cls(
            [
                Problem(
                    code="missing_extra",
                    message=f"This needs the Python module '{module}', which is not installed.",
                    fix=f"pip install 'tao-skill-bank[{extra}]'",
                    path=module,
                )
            ]
        )
