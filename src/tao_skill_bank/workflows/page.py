"""The page of a run: one sentence, its steps, and the report of its jobs."""

from pathlib import Path

from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.report import write_report
from tao_skill_bank.report.opening import Opening, StepRow
from tao_skill_bank.runs.run_directory import RunDirectory
from tao_skill_bank.workflows.log import Event
from tao_skill_bank.workflows.occurrences import REPORT
from tao_skill_bank.workflows.standing import Standing

ENDED = {
    "COMPLETE": "is complete",
    "FAILED": "failed",
    "INTERRUPTED": "was interrupted and can be resumed",
    "RUNNING": "is running",
}


def write(standing: Standing, out: Path | None = None) -> Path:
    """Write the page of a run at any moment of it and return its path. Raises BlockedError."""
    runs: dict[str, RunDirectory] = {}
    for event in standing.steps:
        if (run := _run_of(event)) is not None:
            runs[label(event)] = run
    return write_report(runs, out or standing.folder / REPORT, opening(standing))


def opening(standing: Standing) -> Opening:
    """Return what stands before the report of the jobs."""
    done = sum(event.status in ("ok", "skipped") for event in standing.steps)
    waits = () if standing.state == "COMPLETE" else standing.waiting  # the others were not reached: a loop ended before
    sentence = f"The workflow {standing.sealed.name} {ENDED[standing.state]}: {done} of "
    sentence += f"{len(standing.steps) + len(waits)} steps are done"
    sentence += f"; {standing.summary}." if standing.state in ("COMPLETE", "FAILED") else "."
    rows = [StepRow(label(each), each.status, each.seconds, each.summary, each.job or "") for each in standing.steps]
    waiting = [StepRow(name, "waiting", None, "", "") for name in waits]
    return Opening(standing.sealed.name, sentence, (*rows, *waiting))


def label(event: Event) -> str:
    """Return the name of a step with its iteration, where it has one."""
    return f"{event.step} ({event.iteration})" if event.iteration else event.step


def _run_of(event: Event) -> RunDirectory | None:
    if event.job is None:
        return None
    try:
        run = JobHandle(event.job).run_directory
    except TaoSkillsError:  # it was never launched
        return None
    return run if run.path.is_dir() else None
