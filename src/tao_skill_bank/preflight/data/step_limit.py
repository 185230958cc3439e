"""Checks a training whose length is a number of steps, where the steps of an epoch are known from the data."""

from collections.abc import Sequence

from tao_skill_bank.bank import catalog, step_limit
from tao_skill_bank.contracts import Finding, Job, WarmUp, Workload
from tao_skill_bank.core.findings import info
from tao_skill_bank.data.kinds import Seen
from tao_skill_bank.errors import Problem
from tao_skill_bank.preflight.data import steps


def check(job: Job, inputs: Sequence[Seen]) -> list[Finding]:
    """Return what the steps are in epochs; blocking for a warm-up in epochs that is longer than all of them."""
    counted, max_steps = steps.count(job, inputs), job.workload.max_steps
    if max_steps is None or counted is None or not counted.per_epoch:
        return []
    keys = catalog.find(job.skill).info.automl
    path = (keys.steps if keys else None) or "the number of steps"
    epochs = max_steps / counted.per_epoch
    message = f"{path} {max_steps} ends the training after {epochs:.3g} epochs; {keys.epochs if keys else 'epochs'} "
    message += "does not count."
    if epochs < 1:
        message += " What is done every few epochs, such as validations and checkpoints, is done once, at the end."
    found = [info("by_steps", message, path, max_steps=max_steps, steps_per_epoch=counted.per_epoch)]
    warm_up = job.workload.warm_up
    problem = _problem(path, max_steps, warm_up, counted.per_epoch) if warm_up else None
    return [*found, *([_blocking(problem)] if problem else [])]


def refuses(workload: Workload, warm_up: WarmUp, steps_per_epoch: int) -> bool:
    """Return whether this check blocks for a warm-up."""
    return workload.max_steps is not None and bool(_problem("", workload.max_steps, warm_up, steps_per_epoch))


def _problem(path: str, max_steps: int, warm_up: WarmUp, steps_per_epoch: int) -> Problem | None:
    return step_limit.warm_up_problem(path, max_steps, (warm_up.path, warm_up.epochs), steps_per_epoch)


def _blocking(problem: Problem) -> Finding:
    return Finding(problem.code, "blocking", problem.message, problem.fix, problem.path, fix_set=dict(problem.fix_set))
