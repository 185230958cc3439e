"""A step in one iteration: its folder, and the request that it makes there."""

from collections.abc import Iterator
from pathlib import Path

from tao_skill_bank.contracts import Request, from_json
from tao_skill_bank.workflows.declaration import Step, Workflow
from tao_skill_bank.workflows.log import FILE as LOG
from tao_skill_bank.workflows.outputs import folder_name
from tao_skill_bank.workflows.references import Reference
from tao_skill_bank.workflows.scope import Scope

REPORT = "report.html"


def folder_of(run_folder: Path, step: str, loop: str, iteration: int) -> Path:
    """Return the folder of a step: STEP, or LOOP/ITERATION/STEP."""
    parts = [folder_name(loop), str(iteration)] if loop else []
    return run_folder.joinpath(*parts, folder_name(step))


def names_in(workflow: Workflow) -> Iterator[str]:
    """Yield the names that a run writes into its folder."""
    yield from ("workflow.json", LOG, "state.json")
    yield from (folder_name(outer.name) for outer in workflow.steps if outer.kind != "stop")


def request_of(step: Step, scope: Scope, folder: Path) -> Request:
    """Return the request of a step with all of its values.

    Raises:
        NotYetError: a value is not known yet.
        TaoSkillsError: a value does not exist, or does not fit the request.

    """
    given = scope.filled(step.request)
    if step.parent is not None:
        given["parent_job_id"] = scope.lookup(Reference(step.parent, "job"))
    platform = given.get("platform")
    given |= {"platform": {"name": platform}} if isinstance(platform, str) else {}
    return from_json(Request, {**given, "results_dir": str(folder)}, f"step '{step.name}'")
