"""Builds findings: what was seen, where, and the exact fix."""

from typing import Any

from tao_skill_bank.contracts import Finding, Severity
from tao_skill_bank.core.listing import MAX_LISTED, listed
from tao_skill_bank.errors import TaoSkillsError

__all__ = ["MAX_LISTED", "blocking", "from_error", "info", "listed", "not_checked", "size", "warning"]


def blocking(code: str, message: str, fix: str, path: str = "", **evidence: Any) -> Finding:
    """Return a finding that stops the launch."""
    return Finding(code, "blocking", message, fix, path, evidence)


def warning(code: str, message: str, fix: str, path: str = "", **evidence: Any) -> Finding:
    """Return a finding that the user should read before a long run."""
    return Finding(code, "warning", message, fix, path, evidence)


def info(code: str, message: str, path: str = "", **evidence: Any) -> Finding:
    """Return a measured fact of the run to come."""
    return Finding(code, "info", message, "", path, evidence)


def not_checked(code: str, message: str, fix: str, path: str = "", **evidence: Any) -> Finding:
    """Return the admission that a check could not run, and what makes it run."""
    return Finding(code, "not_checked", message, fix, path, evidence)


def from_error(error: TaoSkillsError, severity: Severity = "blocking") -> list[Finding]:
    """Turn the problems of one of our exceptions into findings."""
    return [
        Finding(
            problem.code,
            severity,
            problem.message,
            problem.fix,
            problem.path,
            {"got": problem.got},
            dict(problem.fix_set),
            tuple(dict(choice) for choice in problem.fix_choices),
        )
        for problem in error.problems
    ]


def size(num_bytes: float) -> str:
    """Return a byte count for people: MiB below one GiB."""
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.1f} MiB"
