"""Issues found in single items of a dataset, and one problem or finding per issue type for the user."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.listing import MAX_LISTED, listed
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

    Attributes:
        what: the items, after their number.
        fix: what to do about them; empty for information.
        counted: false for an issue of the whole dataset, which occurs at most once.
        severity: only blocking issues are problems; the others are reported and change nothing.

    """

    what: str
    fix: str
    counted: bool = True
    severity: Literal["blocking", "warning", "info"] = "blocking"


def as_problems(issues: Sequence[Issue], issue_types: Mapping[str, IssueType], where: Path) -> tuple[Problem, ...]:
    """Return one problem per blocking issue type, in the order of `issue_types`; `got` names every item."""
    return tuple(
        Problem(code, _summary(issue_type, items, where), issue_type.fix, str(where), [issue.item for issue in items])
        for code, issue_type, items in _by_type(issues, issue_types)
        if issue_type.severity == "blocking"
    )


def as_findings(issues: Sequence[Issue], issue_types: Mapping[str, IssueType], where: Path) -> list[Finding]:
    """Return one finding per issue type, in the order of `issue_types`."""
    found = []
    for code, issue_type, items in _by_type(issues, issue_types):
        evidence = {"items": [issue.item for issue in items[:MAX_LISTED]], "count": len(items)}
        summary = _summary(issue_type, items, where)
        found.append(Finding(code, issue_type.severity, summary, issue_type.fix, str(where), evidence))
    return found


def _by_type(
    issues: Sequence[Issue], issue_types: Mapping[str, IssueType]
) -> Iterator[tuple[str, IssueType, list[Issue]]]:
    for code, issue_type in issue_types.items():
        if items := [issue for issue in issues if issue.code == code]:
            yield code, issue_type, items


def _summary(issue_type: IssueType, items: Sequence[Issue], where: Path) -> str:
    what = issue_type.what.replace("{s}", "s" if len(items) > 1 else "")
    return (
        f"{where}: {f'{len(items)} {what}: {listed(items)}' if issue_type.counted else f'{what}, {items[0].detail}'}."
    )
