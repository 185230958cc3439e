"""Issues found in single items of a dataset, and one problem per issue type for the user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.core.listing import listed
from tao_skill_bank.errors import Problem


@dataclass(frozen=True)
class Issue:
    """One issue found in one item: a clip, a file, a row or a line."""

    code: str
    item: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.item} ({self.detail})" if self.detail else self.item


@dataclass(frozen=True)
class IssueType:
    """How an issue type is reported: what the items are, with `{s}` for the plural, and the fix.

    `counted` is false for an issue of the whole dataset, which occurs at most once.
    """

    what: str
    fix: str
    counted: bool = True


def as_problems(issues: Sequence[Issue], issue_types: Mapping[str, IssueType], where: Path) -> tuple[Problem, ...]:
    """Return one problem per issue type, in the order of `issue_types`; `got` names every item."""
    found = []
    for code, issue_type in issue_types.items():
        items = [issue for issue in issues if issue.code == code]
        if items:
            what = issue_type.what.replace("{s}", "s" if len(items) > 1 else "")
            summary = f"{len(items)} {what}: {listed(items)}" if issue_type.counted else f"{what}, {items[0].detail}"
            found.append(
                Problem(code, f"{where}: {summary}.", issue_type.fix, str(where), [issue.item for issue in items])
            )
    return tuple(found)
