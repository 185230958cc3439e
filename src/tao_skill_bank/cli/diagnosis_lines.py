"""How `diagnose` shows what it found: the root cause with its fix, what else was seen, and the followers, counted."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tao_skill_bank.cli import overrides

if TYPE_CHECKING:
    from tao_skill_bank.jobs.diagnosis import Diagnosis

RETRIES = {"yes": "yes, as it is", "after_change": "after this change", "no": "no"}
MAX_RANKS = 8  # that are listed


def summary(found: "Sequence[Diagnosis]") -> dict[str, Any]:
    """Return the code of the root cause, null for none, and how many lines only follow from it."""
    root = next((entry.code for entry in found if entry.role == "root" and entry.code != "no_failure"), None)
    return {"root_cause": root, "num_followers": sum(entry.occurrences for entry in _followers(found))}


def lines(found: "Sequence[Diagnosis]") -> Iterator[str]:
    """Yield the lines for people."""
    followers = _followers(found)
    if found and len(followers) == len(found):
        yield "root cause: not in this log, which only shows what another process's failure caused"
        yield from _details(followers[0])
        followers = followers[1:]
    for entry in found:
        if entry.role != "follower":
            title = (
                "root cause"
                if entry.role == "root" and entry.code != "no_failure"
                else entry.role.replace("root", "found")
            )
            yield f"{title}: {entry.code}: {entry.symptom}"
            yield from _details(entry)
    if followers:
        count = sum(entry.occurrences for entry in followers)
        yield f"followers: {count} line{'s' if count > 1 else ''} that only follow from it"
    for entry in followers:
        yield f"  {entry.code}: {entry.occurrences}, first at {entry.source}:{entry.line_number}{_ranks(entry)}"


def _details(entry: "Diagnosis") -> Iterator[str]:
    place = f"{entry.source}:{entry.line_number}" if entry.line_number else entry.source
    yield f"  at: {place}{_ranks(entry)}" + (f", raised at {entry.frame}" if entry.frame else "")
    yield f"  cause: {entry.cause}"
    yield f"  fix: {entry.cure}"
    yield from (f"  {line}" for line in overrides.lines(entry.fix_set or {}))
    yield f"  retry: {RETRIES[entry.retry]}" + (f" ({entry.err_class})" if entry.err_class else "")


def _ranks(entry: "Diagnosis") -> str:
    if not entry.ranks:
        return ""
    shown = ", ".join(map(str, entry.ranks[:MAX_RANKS]))
    more = f" and {len(entry.ranks) - MAX_RANKS} more" if len(entry.ranks) > MAX_RANKS else ""
    return f" (rank{'s' if len(entry.ranks) > 1 else ''} {shown}{more})"


def _followers(found: "Sequence[Diagnosis]") -> "list[Diagnosis]":
    return [entry for entry in found if entry.role == "follower"]
