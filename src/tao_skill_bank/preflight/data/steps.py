"""Checks the arithmetic of a training run that needs the data: steps per epoch and batch sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.contracts import Finding, Job, Workload
from tao_skill_bank.core.findings import blocking, info
from tao_skill_bank.data.kinds import Seen

MAX_STEPS = 1_000_000_000  # 30 years of a step per second


@dataclass(frozen=True)
class Steps:
    """Optimizer steps of a training: per epoch, and up to where it ends."""

    per_epoch: int
    total: int


def count(job: Job, inputs: Sequence[Seen]) -> Steps | None:
    """Return the optimizer steps of a training; None where they do not follow from its records."""
    workload, train = job.workload, _train(inputs)
    if not workload.trains or not train or workload.batch_per_rank is None:
        return None
    num_records = sum(seen.num_usable for seen in train)
    usable = num_records - _held_out(num_records, workload.validation_split)
    per_epoch = max(0, usable) // (workload.data_parallel_ranks * workload.batch_per_rank)
    return Steps(per_epoch, workload.max_steps or per_epoch * (workload.epochs or 1))


def validation_records(job: Job, inputs: Sequence[Seen]) -> int | None:
    """Return the records of one validation, of the eval input or split off; None where the eval input is not known."""
    held_out = [seen for seen in inputs if seen.input.role == "eval"]
    if not held_out:
        return _held_out(sum(seen.num_usable for seen in _train(inputs)), job.workload.validation_split)
    return None if any(seen.failure for seen in held_out) else sum(seen.num_usable for seen in held_out)


def _train(inputs: Sequence[Seen]) -> list[Seen]:
    return [seen for seen in inputs if seen.input.role == "train" and not seen.failure]


def check(job: Job, inputs: Sequence[Seen]) -> list[Finding]:
    """Return the steps of the run, blocking when there would be none; an epoch takes every record or clip once."""
    train, workload = _train(inputs), job.workload
    if not workload.trains or not train or workload.batch_per_rank is None:
        return []
    num_records, noun = sum(seen.num_usable for seen in train), train[0].noun
    if not num_records:
        return []  # the dataset's own findings say why
    held_out = _held_out(num_records, workload.validation_split)
    usable = num_records - held_out
    if workload.validation_split and not 0 < held_out < num_records:
        message = (
            f"A validation split of {workload.validation_split:g} leaves {usable} of {num_records} {noun} to train "
            f"on and {held_out} to validate on."
        )
        return [blocking("split_empty", message, f"Choose a split that gives both sides {noun}.", records=num_records)]
    ranks = workload.data_parallel_ranks
    counted = count(job, inputs)
    if counted is None or not counted.per_epoch:
        return [_no_step(workload, usable, noun)]
    steps, total = counted.per_epoch, counted.total
    if total > MAX_STEPS:
        return [_too_many(counted)]
    validated = validation_records(job, inputs)
    message = (
        f"{usable} training {noun} on {ranks} data-parallel ranks with batch {workload.batch_per_rank} give "
        f"{steps} steps per epoch, {total} in all{_early_stop(workload)}; "
        f"{usable - steps * ranks * workload.batch_per_rank} {noun} are dropped per epoch."
    )
    message += f" Validation reads {validated} {noun}." if validated else ""
    evidence: dict[str, Any] = {
        "records": usable,
        "validation_records": validated,
        "world_size": job.resources.world_size,
    }
    return [info("steps", message, steps_per_epoch=steps, total_steps=total, **evidence)]


def _too_many(counted: Steps) -> Finding:
    message = f"{counted.per_epoch} steps per epoch make {counted.total:,} in all, and no training has more than "
    message += f"{MAX_STEPS:,}."
    most = MAX_STEPS // counted.per_epoch
    fix = f"Train at most {most:,} epochs."
    evidence: dict[str, Any] = {"steps_per_epoch": counted.per_epoch, "total_steps": counted.total, "most_epochs": most}
    return blocking("too_many_steps", message, fix, **evidence)


def _early_stop(workload: Workload) -> str:
    """Return the part of the message about a training that ends before its schedule does, or by its steps."""
    if workload.max_steps is not None:
        return ", as many as it is limited to"
    if workload.epochs is None or workload.scheduled_epochs in (None, workload.epochs):
        return ""
    return f" (it stops after epoch {workload.epochs} of {workload.scheduled_epochs})"


def _held_out(num_records: int, split: float) -> int:
    return round(split * num_records) if split < 1 else int(split)


def _no_step(workload: Workload, usable: int, noun: str) -> Finding:
    ranks, micro_batch = workload.data_parallel_ranks, workload.micro_batch or 1
    per_rank = usable // ranks
    message = (
        f"{usable} training {noun} on {ranks} data-parallel ranks make {per_rank} per rank, fewer than the batch of "
        f"{workload.batch_per_rank}: there would be 0 steps."
    )
    largest = per_rank - per_rank % micro_batch
    if largest:
        fix = f"Set the batch per rank to at most {largest}, a multiple of the micro-batch {micro_batch}."
    elif per_rank:
        fix = (
            f"Set the batch per rank to at most {per_rank} and the micro-batch to a divisor of it, such as {per_rank}."
        )
    else:
        fix = f"Use at most {usable} data-parallel ranks, or add {noun}."
    return blocking("batch_exceeds_records", message, fix, records=usable, per_rank=per_rank, largest_batch=largest)
