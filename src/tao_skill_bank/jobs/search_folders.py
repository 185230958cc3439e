"""The run directory of a search belongs to that search: nothing else trains or searches in it."""

from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Job, State
from tao_skill_bank.errors import Problem, TaoSkillsError
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.runs.run_directory import RunDirectory


def refusal(job: Job, study: dict[str, Any] | None = None) -> Problem | None:
    """Return why a job may not use its run directory; None where it holds no search, or the one that `study` continues.

    Where it holds a plain training, a search is refused as well.
    """
    folder = Path(job.results_dir)
    document = RunDirectory(folder).plan_document()
    there, of_job = document.get("study"), document.get("job")
    if not isinstance(of_job, dict) or of_job.get("id") == job.id:
        return None
    name = str(of_job.get("id"))
    if not isinstance(there, dict):
        if study is None:
            return None
        message = f"results_dir {folder} is that of job {name}, which is not a search."
        fix = f"Choose another results_dir for the search; it may start from that job: --parent {name}"
        return Problem("results_dir_not_empty", message, fix, "results_dir", str(folder))
    if study is not None and study.get("name") == there.get("name"):
        return None
    message = f"results_dir {folder} is that of the search {name}: another training there would break it."
    return Problem("results_dir_of_search", message, _fix(name, job), "results_dir", str(folder))


def _fix(name: str, job: Job) -> str:
    try:
        record = JobStore().read(name)
    except TaoSkillsError:  # its record is in another state folder
        return "Choose another results_dir."
    if record.err_class == "ERR_PROGRAM":
        return f"Choose another results_dir, after seeing why that search failed: tao-skills diagnose {name}"
    if record.state is not State.COMPLETE:
        verb = "resume" if record.state.is_terminal else "status"
        return f"Choose another results_dir, or continue that search: tao-skills automl {verb} {name}"
    more = f"tao-skills plan {job.skill} {job.action} --parent {name} --automl-policy off"
    return f"See its best trial: tao-skills automl best {name}. To train it for more epochs elsewhere: {more}"
