"""Whether a results folder is taken: it holds anything but what a launch writes there or resumes."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Job
from tao_skill_bank.errors import Problem
from tao_skill_bank.jobs import search_folders
from tao_skill_bank.jobs.launched import earlier_job, lost_job
from tao_skill_bank.runs import run_directory
from tao_skill_bank.runs.run_directory import RunDirectory

LISTED = 3
DOCUMENTS = ("plan.json", "request.json", "result.json")


def continued_job(job: Job) -> str | None:
    """Return the id of the job whose run directory this one resumes in: one of the same skill and action.

    Raises ConflictError like `launched.job_in`.
    """
    return earlier_job(job) if job.workload.resume or job.workload.adds else None


def problem(
    job: Job, study: Mapping[str, Any] | None = None, files: Collection[str] | None = None, *, is_continued: bool
) -> Problem | None:
    """Return why a job may not write into its results folder; None where that is free.

    Args:
        job: what is to be launched.
        study: of a search, which may continue its own folder.
        files: the files of its launch; None for those that the plan in the folder names.
        is_continued: the job resumes in the run directory that is there.

    Raises:
        ConflictError: like `launched.job_in`.

    """
    folder = Path(job.results_dir)
    if files is None:
        files = RunDirectory(folder).plan_document().get("files") or {}
    own = {*DOCUMENTS, *files}  # left by a job that never started
    if folder.exists() and not folder.is_dir():
        foreign = [folder.name]
    else:
        present = (path for path in folder.rglob("*") if not path.is_dir())
        foreign = sorted(path.relative_to(folder).as_posix() for path in present)
    foreign = [name for name in foreign if not run_directory.is_leftover(name, own)]
    if foreign and (refused := search_folders.refusal(job, None if study is None else dict(study))):
        return refused
    return _not_empty(job, folder, foreign) if foreign and not is_continued else None


def _not_empty(job: Job, folder: Path, foreign: list[str]) -> Problem:
    message = f"results_dir {folder} is not empty: it contains {', '.join(foreign[:LISTED])}"
    message += f" and {len(foreign) - LISTED} more." if len(foreign) > LISTED else "."
    fix, resume = "Choose another results_dir, or move its files elsewhere.", {}
    if job.workload.trains and ((folder / "checkpoints").is_dir() or earlier_job(job) is not None):
        resumed = f" with {job.resume_key}=true" if job.resume_key else ""
        fix = f"Choose another results_dir, or continue the training of this one{resumed}."
        resume = {job.resume_key: True} if job.resume_key else {}
    if (lost := lost_job(job)) is not None:
        fix = f"It is that of job {lost}, which an infrastructure failure ended: tao-skills retry {lost}. Or: {fix}"
    choices = (resume,) if resume else ()
    return Problem("results_dir_not_empty", message, fix, "results_dir", str(folder), fix_choices=choices)
