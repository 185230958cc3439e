"""Says whether another round fits into the hours of a run, so that a loop ends with its best so far, not with an error.

What a round takes is taken from the longest one before; the first is left to the limit of the workflow.
"""

from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import contract
from tao_skill_bank.runs.run_directory import verbatim_json, write_whole
from tao_skill_bank.workflows import limits, log
from tao_skill_bank.workflows.history import History
from tao_skill_bank.workflows.stage import Context

FILE = "budget.json"
OUTPUTS = {
    "is_enough": "whether another round, and what is reserved, fit into the hours",
    "spent": "hours of all jobs so far; of processes where they run on a CPU",
    "round": "hours of the longest round so far",
}


@contract
class Arguments:
    """Hours that the run has, null for no limit, and of them those that are left for after the loop."""

    hours: float | None = None
    reserved: float = 0.0


def promised(_arguments: Arguments, folder: Path) -> list[Path]:
    """Return the figures as a document."""
    return [folder / FILE]


def run(arguments: Arguments, context: Context) -> dict[str, Any]:
    """Return the outputs."""
    events = log.read(context.workflow_folder).events
    by_round: dict[int, set[str]] = {}
    for event in events:
        if event.job and 0 < event.iteration < context.iteration:
            by_round.setdefault(event.iteration, set()).add(event.job)
    spent = sum(limits.hours_of(job) for job in History(events).job_ids)
    longest = max((sum(map(limits.hours_of, jobs)) for jobs in by_round.values()), default=0.0)
    is_enough = arguments.hours is None or spent + longest + arguments.reserved <= arguments.hours
    given = {"is_enough": is_enough, "spent": round(spent, 4), "round": round(longest, 4)}
    write_whole(context.folder / FILE, verbatim_json(given))
    return given
