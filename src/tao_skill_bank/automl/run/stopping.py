"""Cancels a search whichever of its jobs is named: its controller, its trials, and its evaluations."""

from dataclasses import replace
from pathlib import Path

from tao_skill_bank.automl.run.resuming import read_search
from tao_skill_bank.contracts import Finding, JobStatus
from tao_skill_bank.errors import ConflictError, TaoSkillsError
from tao_skill_bank.jobs import service


def cancel(job_id: str) -> JobStatus:
    """Stop a search and everything it started; a later `automl resume` resumes it.

    Raises:
        UnknownNameError: no such job, or its run directory is gone.
        ConflictError: it had ended, and none of its trials ran.
        BackendError: some of its jobs could not be stopped; all others are.

    """
    run_dir = Path(service.JobStore().read(job_id).results_dir)
    current = read_search(run_dir, job_id).job.id
    stopped: JobStatus | None = None
    refusal: TaoSkillsError | None = None
    try:
        stopped = service.cancel(current)
    except TaoSkillsError as error:
        refusal = error
    left, findings, failures = _stop_rest(run_dir)
    if refusal is not None and not (left and isinstance(refusal, ConflictError)):
        raise refusal
    if failures:
        raise failures[0]
    now = stopped or service.status(current)
    return replace(now, findings=(*now.findings, *findings))


def _stop_rest(run_dir: Path) -> tuple[int, list[Finding], list[TaoSkillsError]]:
    """Stop trials and evaluations that a controller left running when it was killed, by their records.

    The study is not asked: to open one may need to write. Returns how many were stopped, what could not be recorded of
    them, and why others could not be stopped.
    """
    stopped, findings, failures = 0, list[Finding](), list[TaoSkillsError]()
    for record in service.JobStore().live():
        if run_dir.resolve() not in Path(record.results_dir).resolve().parents:
            continue
        try:
            findings += service.cancel(record.id).findings
            stopped += 1
        except ConflictError:  # it ended by itself
            continue
        except TaoSkillsError as error:
            failures.append(error)
    return stopped, findings, failures
