"""Jobs of a search that are no trials: evaluations of checkpoints, and whatever else it waits for."""

from collections.abc import Callable
from contextlib import suppress

from tao_skill_bank.automl.run.trials import TrialJobs, evaluation_request, failure, freed
from tao_skill_bank.contracts import Request, State
from tao_skill_bank.errors import ConflictError, JobFailedError
from tao_skill_bank.jobs import launched, service
from tao_skill_bank.planning import dispatch, gate

SUMMARY = "metrics_summary.json"
Pause = Callable[[], None]


def evaluate(trials: TrialJobs, name: str, parent_job_id: str | None, pause: Pause) -> None:
    """Evaluate a training, or without one the model that the search starts from, in the folder `name`.

    Raises:
        TaoSkillsError: the request is refused, the platform does not accept it, or the evaluation fails.

    """
    if (trials.run_dir / name / SUMMARY).is_file():
        return
    evaluation = trials.study.keys.evaluation
    assert evaluation is not None
    devices = trials.study.devices[0] if trials.study.devices else None
    folder = str(trials.run_dir / name)
    finish(trials, name, evaluation_request(trials.plan, evaluation.action, folder, parent_job_id, devices), pause)


def finish(trials: TrialJobs, name: str, request: Request, pause: Pause) -> None:
    """Run a job to its end in the folder `name`, or wait for the one that an earlier controller launched there.

    Raises:
        TaoSkillsError: the request is refused, the platform does not accept it, or the job fails.

    """
    folder = trials.run_dir / name
    job_id = launched.job_in(folder)
    status = service.status(job_id) if job_id else None
    if job_id is None or (status is not None and status.state in (State.ERROR, State.CANCELED)):
        freed(folder)
        sealed = dispatch.plan(request)
        gate.raise_if_blocked([found for found in sealed.findings if found.blocks_run])
        job_id = dispatch.run(sealed).id
    try:
        while not (ended := service.status(job_id)).state.is_terminal:
            pause()
    except BaseException:  # the search ends here, and another controller does it again
        with suppress(ConflictError):
            service.cancel(job_id)
        raise
    if ended.state is not State.COMPLETE:
        message = f"The {name.replace('_', ' ')} failed: {failure(ended)}"
        raise JobFailedError.of("evaluation_failed", message, f"See: tao-skills diagnose {job_id}", path=str(folder))
