"""Checks every input by the rules of its kind."""

from collections.abc import Sequence

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.data import kinds
from tao_skill_bank.data.kinds import Context, Seen
from tao_skill_bank.preflight.data.visibility import Unseen


def check(job: Job, inputs: Sequence[Seen], kind_context: Context) -> list[Finding]:
    """Return the findings of all inputs of a kind together, kind by kind in the order of the workload.

    Those that are not visible here are reported by another check.
    """
    package = job.module.rpartition(".")[0]
    by_kind: dict[str, list[Seen]] = {}
    for seen in inputs:
        if isinstance(seen, Unseen):
            continue
        by_kind.setdefault(seen.input.kind, []).append(seen)
    return [
        finding for name, group in by_kind.items() for finding in kinds.load(name, package).check(group, kind_context)
    ]
