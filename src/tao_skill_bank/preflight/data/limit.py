"""Checks an action that takes only some of its records: how many of how many."""

from collections.abc import Sequence

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.core import subset
from tao_skill_bank.data.kinds import Seen


def check(job: Job, inputs: Sequence[Seen]) -> list[Finding]:
    """Return what share of the records is taken, or that the limit is above them and all are taken."""
    limit = job.workload.limit
    if limit is None:
        return []
    limited = [seen for seen in inputs if seen.input.role == limit.role and not seen.failure]
    available = sum(seen.num_usable for seen in limited)
    if not available:
        return []  # not on this machine, or the findings of the data say why
    return subset.findings(limit.path, limit.count, available, limited[0].noun, limit.takes_all)
