"""Cancels a search whichever of its jobs is named: its controller, its trials, and its evaluations."""

from contextlib import suppress
from pathlib import Path

from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.run import controller
from tao_skill_bank.automl.run.resuming import read_search
from tao_skill_bank.automl.run.trials import BASELINE, FINAL
from tao_skill_bank.contracts import JobStatus
from tao_skill_bank.errors import ConflictError, UnknownNameError
from tao_skill_bank.jobs import launched, service


def cancel(job_id: str) -> JobStatus:
    """Stop a search and everything it started; a later `automl resume` resumes it.

    Raises:
        UnknownNameError: no such job, or its run directory is gone.
        ConflictError: it had ended, and none of its trials ran.

    """
    run_dir = Path(service.JobStore().read(job_id).results_dir)
    current = read_search(run_dir, job_id).job.id
    refusal: ConflictError | None = None
    try:
        service.cancel(current)
    except ConflictError as error:
        refusal = error
    if not _stop_rest(run_dir) and refusal is not None:
        raise refusal
    return service.status(current)


def _stop_rest(run_dir: Path) -> int:
    """Stop trials and evaluations that a controller left running when it was killed; return how many there were."""
    found: list[str | None] = []
    for name in (BASELINE, FINAL):
        with suppress(ConflictError):  # a plan of another job, which is not this search's to stop
            found.append(launched.job_in(run_dir / name))
    with suppress(UnknownNameError):  # the study is gone, and with it the trials
        entries = controller.open_search(run_dir).storage.entries()
        found += [entry.jobs[-1].id for entry in entries if entry.state is TrialState.RUNNING and entry.jobs]
    stopped = 0
    for job_id in filter(None, found):
        with suppress(ConflictError, UnknownNameError):  # it ended by itself, or was never launched
            if not service.status(job_id).state.is_terminal:
                service.cancel(job_id)
                stopped += 1
    return stopped
