"""Resumes a search whose controller ended before the search did."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tao_skill_bank import platforms
from tao_skill_bank.automl.plan import study
from tao_skill_bank.automl.run.lease import Lease
from tao_skill_bank.contracts import Launch, Plan, State
from tao_skill_bank.core import file_locks
from tao_skill_bank.errors import BlockedError, ConflictError, UnknownNameError
from tao_skill_bank.jobs import launched, service
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.planning import planner
from tao_skill_bank.runs import plan_versions


def resume(job_id: str) -> tuple[JobHandle, Plan]:
    """Launch another controller on the search of a job, and return its handle and plan.

    Raises:
        UnknownNameError: no such job.
        RequestError: it is not a search.
        ConflictError: a controller works on it, or the search is over.

    """
    run_dir = Path(service.JobStore().read(job_id).results_dir)
    with exclusively(run_dir / "resume.lock"):
        return _resume(job_id, run_dir)


def _resume(job_id: str, run_dir: Path) -> tuple[JobHandle, Plan]:
    sealed = read_search(run_dir, job_id)
    lease = Lease(run_dir)
    now = service.status(sealed.job.id)
    if lease.is_held() or now.state in (State.PENDING, State.RUNNING):
        message = f"A controller works on the search of {job_id}: job {sealed.job.id} is {now.state}."
        raise ConflictError.of("search_is_running", message, f"Watch it: tao-skills watch {sealed.job.id}", path=job_id)
    if now.state is State.COMPLETE:
        message = f"The search of {job_id} is COMPLETE."
        fix = f"See its best trial: tao-skills automl best {job_id}"
        raise ConflictError.of("search_is_over", message, fix, path=job_id)
    job = replace(sealed.job, id=service.new_job_id(sealed.job.network_arch, sealed.job.action))
    job = replace(job, workload=replace(job.workload, adds=True))  # it continues in a folder that is not empty
    drafted = replace(sealed, job=job, files={}, argv=(), sha256="")
    launch: Launch = platforms.load(drafted.launched_on).render(drafted)
    again = planner.seal(replace(drafted, files=_config(sealed)), launch)
    return service.launch(again), again


def read_search(run_dir: Path, job_id: str) -> Plan:
    """Return the plan of a search as it was launched last.

    Raises:
        UnknownNameError: its run directory is gone.
        RequestError: the job is not a search.
        ConflictError: the plan there is not the one of its job.

    """
    if not (run_dir / "plan.json").is_file():
        message = f"The run directory of job {job_id} is gone: there is no {run_dir / 'plan.json'}."
        raise UnknownNameError.of("run_directory_gone", message, "Restore it, or start a new search.", path=job_id)
    launched.job_in(run_dir)
    sealed = plan_versions.read_launched(run_dir / "plan.json", sealed=True)
    study.of_plan(sealed)
    return sealed


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Let one process at a time in; the others wait. Raises BlockedError when the file cannot be made."""
    try:
        with path.open("a") as lock, file_locks.exclusive(lock.fileno(), path):
            yield
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}"
        raise BlockedError.of("results_dir_unwritable", message, "Free disk space there.", path=str(path)) from None


def _config(sealed: Plan) -> dict[str, str]:
    """Return the files of the plan that its launch did not render."""
    return {sealed.job.config_file: sealed.files[sealed.job.config_file]}
