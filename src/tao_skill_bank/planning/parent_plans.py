"""The plan and the run directory of the job that a request names as its parent."""

from pathlib import Path

from tao_skill_bank.contracts import Plan
from tao_skill_bank.errors import RequestError, UnknownNameError
from tao_skill_bank.jobs import launched
from tao_skill_bank.jobs.service import JobStore
from tao_skill_bank.runs import plan_versions
from tao_skill_bank.runs.run_directory import BEST_TRIAL


def find(skill_name: str, job_id: str) -> tuple[Plan, Path]:
    """Return the plan of a job of a skill, and its run directory. A search is represented by its best trial.

    Raises:
        UnknownNameError: no such job, its run directory is gone, or a search has no best trial yet.
        RequestError: the job belongs to another skill.
        ConflictError: its run directory does not hold the plan that it was launched with.

    """
    record = JobStore().read(job_id)
    run = Path(record.results_dir)
    if not (run / "plan.json").is_file():
        message = f"The run directory of job {job_id} is gone: {run / 'plan.json'} does not exist."
        fix = "Name another parent, or give the checkpoint folder itself."
        raise UnknownNameError.of("parent_run_gone", message, fix, path="parent_job_id", got=job_id)
    plan = launched.plan_of(record)
    if plan.job.skill != skill_name:
        message = f"Job {plan.job.id} belongs to {plan.job.skill}, not to {skill_name}."
        fix = f"Name a job of {skill_name}: tao-skills jobs"
        raise RequestError.of("parent_of_another_skill", message, fix, path="parent_job_id", got=plan.job.id)
    if plan.study is not None:
        run = _best_trial(run, plan.job.id)
        plan = plan_versions.read_launched(run / "plan.json")
    return plan, run


def _best_trial(run: Path, job_id: str) -> Path:
    """Return the run directory of a search's best trial: its checkpoints are those of the search."""
    trial = (run / BEST_TRIAL).resolve()
    if not (trial / "plan.json").is_file():
        message = f"The search {job_id} has no best trial yet."
        go_on = "watch" if JobStore().read(job_id).terminal_state is None else "automl resume"
        fix = f"Finish it: tao-skills {go_on} {job_id}. Or give the job of one trial: "
        fix += f"tao-skills automl status {job_id} --json"
        raise UnknownNameError.of("no_best_trial", message, fix, path="parent_job_id", got=job_id)
    return trial
