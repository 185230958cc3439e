"""A run directory inside that of another job is refused, unless the plan names that job as its owner.

The owner is the parent job (`parent_job_id`), or the search whose trial or evaluation it is (`automl.search`). What
belongs to a search is continued by that search only: its scores are those of what is there.
"""

from pathlib import Path

from tao_skill_bank.contracts import Request
from tao_skill_bank.errors import Problem
from tao_skill_bank.runs.run_directory import RunDirectory

SEARCH = "search"  # the key of `Request.automl` that names the search which a job belongs to
CODE = "inside_another_run"
OF_SEARCH = "results_dir_of_search"


def problem(results_dir: str, request: Request) -> Problem | None:
    """Return why a job may not write into `results_dir`; None where it may."""
    folder = Path(results_dir)
    is_continued = _job_in(folder) is not None
    if is_continued and _search_of(folder) is None:  # whether it may be continued is decided elsewhere
        return None
    for outer in folder.resolve().parents:
        job_id = _job_in(outer)
        if job_id is None:
            continue
        parent = None if is_continued else request.parent_job_id
        owners = {name for name in (parent, request.automl.get(SEARCH)) if isinstance(name, str)}
        if job_id in owners or any(RunDirectory.of(str(outer), owner).set_aside_id for owner in owners):
            return None
        if is_continued:
            return _trial_problem(folder, job_id)
        message = f"results_dir {folder} lies in {outer}, the run directory of job {job_id}."
        fix = f"Choose a results_dir outside of it; or, for a job that uses its results, name it: --parent {job_id}"
        return Problem(CODE, message, fix, path="results_dir", got=str(folder))
    return None


def _search_of(folder: Path) -> str | None:
    """Return the search whose trial or evaluation is in a run directory; None for any other job."""
    request = RunDirectory(folder).plan_document().get("request")
    automl = request.get("automl") if isinstance(request, dict) else None
    search = automl.get(SEARCH) if isinstance(automl, dict) else None
    return search if isinstance(search, str) else None


def _trial_problem(folder: Path, search: str) -> Problem:
    message = (
        f"results_dir {folder} is that of a trial or evaluation of the search {search}, whose score would no longer"
    )
    message += " be that of what is there."
    fix = f"Choose another results_dir; a training may start from what is there: --parent {_job_in(folder)}"
    return Problem(OF_SEARCH, message, fix, path="results_dir", got=str(folder))


def _job_in(folder: Path) -> str | None:
    """Return the job whose run directory a folder is; None for any other folder, even one with a saved plan."""
    job = RunDirectory(folder).plan_document().get("job")
    if not isinstance(job, dict) or not isinstance(job.get("results_dir"), str):
        return None
    return str(job.get("id")) if Path(job["results_dir"]).resolve() == folder.resolve() else None
