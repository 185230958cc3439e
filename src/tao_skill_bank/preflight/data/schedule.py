"""Warns of a training with few optimizer steps, and of a warm-up that the training never leaves."""

from collections.abc import Sequence
from dataclasses import replace

from tao_skill_bank.contracts import Finding, Job, WarmUp
from tao_skill_bank.core.findings import warning
from tao_skill_bank.data.kinds import Seen
from tao_skill_bank.preflight.data import step_limit, steps

FEW_STEPS = 50  # momentum (beta1 0.9) averages 10 steps: with fewer than five such spans, a run is mostly its start


def check(job: Job, inputs: Sequence[Seen]) -> list[Finding]:
    """Return the warnings of a training's length and of its warm-up; none where its steps are not known."""
    counted = steps.count(job, inputs)
    if counted is None or not counted.per_epoch:
        return []
    found = [_few(counted)] if counted.total < FEW_STEPS else []
    warm_up = job.workload.warm_up
    if warm_up and step_limit.refuses(job.workload, warm_up, counted.per_epoch):
        return found  # that check says more
    return [
        *found,
        *([_never_ends(warm_up, counted)] if warm_up and _length(warm_up, counted) >= counted.total else []),
    ]


def _few(counted: steps.Steps) -> Finding:
    message = (
        f"The training has {counted.total} optimizer steps. Below {FEW_STEPS} it is mostly the start of the "
        "optimizer's averages, and weights move by at most about the learning rate per step: little is learned."
    )
    fix = "Lower the batch per rank, train more epochs, or add records; for a trial run this is as intended."
    return warning("few_steps", message, fix, steps=counted.total, threshold=FEW_STEPS)


def _length(warm_up: WarmUp, counted: steps.Steps) -> int:
    return round(warm_up.epochs * counted.per_epoch) + warm_up.steps


def _never_ends(warm_up: WarmUp, counted: steps.Steps) -> Finding:
    length = _length(warm_up, counted)
    share = max(0, counted.total - 1) / length
    message = (
        f"{warm_up.path} is a warm-up of {length} steps, and the training has {counted.total}: its learning rate never "
        f"reaches the peak, and ends at {share:.1%} of it."
    )
    tenth = counted.total // 10
    value = tenth if warm_up.steps else round(tenth / counted.per_epoch, 3)
    fix = f"Set a tenth of the training: --set {warm_up.path}={value:g}, or train longer."
    found = warning("warm_up_never_ends", message, fix, warm_up.path, warm_up_steps=length, steps=counted.total)
    return replace(found, fix_set={warm_up.path: value})
