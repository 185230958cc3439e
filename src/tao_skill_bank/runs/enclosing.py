"""A run directory inside that of another job is refused, unless the plan names that job as its owner.

The owner is the parent job (`parent_job_id`), or the search whose trial or evaluation it is (`automl.search`).
"""

from pathlib import Path

from tao_skill_bank.contracts import Request
from tao_skill_bank.errors import Problem
from tao_skill_bank.runs.run_directory import RunDirectory

SEARCH = "search"  # the key of `Request.automl` that names the search which a job belongs to
CODE = "inside_another_run"


def problem(results_dir: str, request: Request) -> Problem | None:
    """Return why a job may not write into `results_dir`; None where it may."""
    folder = Path(results_dir)
    if _job_in(folder) is not None:  # a run directory already: whether it may be continued is decided elsewhere
        return None
    for outer in folder.resolve().parents:
        job_id = _job_in(outer)
        if job_id is None:
            continue
        owners = {name for name in (request.parent_job_id, request.automl.get(SEARCH)) if isinstance(name, str)}
        if job_id in owners or any(RunDirectory.of(str(outer), owner).set_aside_id for owner in owners):
            return None
        message = f"results_dir {folder} lies in {outer}, the run directory of job {job_id}."
        fix = f"Choose a results_dir outside of it; or, for a job that uses its results, name it: --parent {job_id}"
        return Problem(CODE, message, fix, path="results_dir", got=str(folder))
    return None


def _job_in(folder: Path) -> str | None:
    """Return the job whose run directory a folder is; None for any other folder, even one with a saved plan."""
    job = RunDirectory(folder).plan_document().get("job")
    if not isinstance(job, dict) or not isinstance(job.get("results_dir"), str):
        return None
    return str(job.get("id")) if Path(job["results_dir"]).resolve() == folder.resolve() else None
