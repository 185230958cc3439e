"""Estimates how long a job takes, from a finished one like it, else from its arithmetic; always as a range."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from tao_skill_bank.bank import devices
from tao_skill_bank.contracts import Finding, Job, Resources
from tao_skill_bank.core.findings import info
from tao_skill_bank.core.spans import Span
from tao_skill_bank.data.kinds import Seen
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.jobs import timed
from tao_skill_bank.preflight.data import steps, token_budget
from tao_skill_bank.preflight.machine import hardware
from tao_skill_bank.preflight.model.inspection import Inspection

CODE = "estimate"
# Typical values, wide enough for every run that was measured (references/performance.md).
START = Span(8, 60)  # interpreter, torch and model of the job, before the first sample
STEP = {"cpu": Span(0.01, 0.4), "cuda": Span(0.005, 0.3)}  # of an optimizer step, in addition to its arithmetic
SAMPLE = Span(0.0005, 0.05)  # reading and decoding of a sample
CPU_FLOPS = Span(2e9, 60e9)  # FLOP/s of one process on a few cores
GPU_SHARE = Span(0.15, 0.7)  # of a GPU's peak that trainings reach
OTHER_GPUS = Span(150e12, 1000e12)  # peaks of GPUs whose name says nothing
TOKEN = Span(0.003, 0.06)  # of writing one token of a batch of answers, besides reading the weights
WEIGHTS = {"cpu": Span(10e9, 100e9), "cuda": Span(0.8e12, 8e12)}  # bytes of memory that are read in a second
FEWEST_TOKENS = 2  # of an answer and its end
BYTES = 2  # of a weight
REPEATED = Span(0.75, 1.4)  # by how much two runs of the same work differ
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Work:
    """What a job computes, over all epochs and ranks.

    Attributes:
        samples: that are read: of all epochs, and of all validations.
        steps: optimizer steps.
        flops: of training or reading and of validations, the fewest and the most; None where they are not counted.
        tokens: of an answer at most, which are written one after another.
        batches: of answers.
        weight_bytes: that each of them reads.

    """

    samples: float
    steps: float
    flops: float | None = None
    tokens: int = 0
    batches: float = 0.0
    weight_bytes: float = 0.0


@dataclass(frozen=True)
class Estimated:
    """The time of a job, and how it was found."""

    seconds: Span
    source: str
    how: str


def check(
    job: Job, inputs: Sequence[Seen], inspection: Inspection, records: Sequence[Probed], *, runs_here: bool
) -> list[Finding]:
    """Return the estimate as a finding; what it rests on is part of it."""
    work = work_of(job, inputs, inspection, records)
    found = of(job, work, runs_here=runs_here)
    if found is None:
        message = (
            f"How long it takes is not known: no finished {job.action} of this model is recorded, and its arithmetic "
            "is not counted."
        )
        return [info("estimate_unknown", message)]
    evidence = evidence_of(found, job.resources)
    if work is not None:
        evidence |= {"samples": work.samples, **({"flops": work.flops} if work.flops else {})}
    return [info(CODE, message_of(found, job.resources), **evidence)]


def evidence_of(found: Estimated, resources: Resources, processes: int | None = None) -> dict[str, Any]:
    """Return an estimate as data: seconds and device hours, low and high, the device, and the source."""
    hours = device_hours(found.seconds, processes or resources.world_size)
    return {
        "seconds": found.seconds.rounded,
        "device_hours": hours.rounded,
        "device": resources.device,
        "source": found.source,
        "how": found.how,
    }


def message_of(found: Estimated, resources: Resources, processes: int | None = None) -> str:
    """Return an estimate as a sentence."""
    hours = device_hours(found.seconds, processes or resources.world_size)
    low, high = hours.rounded
    return f"It takes about {found.seconds.text()} ({low:g} to {high:g} {resources.hours}): {found.how}."


def device_hours(seconds: Span, processes: float) -> Span:
    """Return the hours of all processes."""
    return seconds * (processes / SECONDS_PER_HOUR)


def work_of(job: Job, inputs: Sequence[Seen], inspection: Inspection, records: Sequence[Probed]) -> Work | None:
    """Return the work of a job; None where nothing of it can be counted."""
    if job.workload.trains:
        return _training(job, inputs, inspection)
    read = sum(seen.num_usable for seen in inputs if not seen.failure and seen.noun != "inputs")
    if not read:
        return None
    parameters = inspection.answer.get("parameters")
    prompt = token_budget.prompt(job, records) if parameters else None
    if not parameters or prompt is None:
        return Work(read, 0)
    tokens, answer = prompt
    batches = read / min(read, job.workload.micro_batch or 1)
    per_token = inspection.answer.get("flops_per_token") or 2.0 * parameters
    return Work(read, 0, per_token * tokens * read, answer, batches, BYTES * parameters)


def _training(job: Job, inputs: Sequence[Seen], inspection: Inspection) -> Work | None:
    counted = steps.count(job, inputs)
    if counted is None or not counted.per_epoch:
        return None
    workload, given = job.workload, inspection.answer.get("work") or {}
    trained = counted.total * workload.data_parallel_ranks * (workload.batch_per_rank or 1)
    epochs = counted.total / counted.per_epoch
    between = given.get("validation_epochs", 1)
    validations = math.ceil(epochs / between) if between else 0
    validated = (steps.validation_records(job, inputs) or 0) * (validations + given.get("first_validations", 0))
    flops = None
    if given:
        flops = trained * given["sample_flops"] + validated * given["validation_flops"]
        flops += validations * given.get("samples_flops", 0)
        flops += trained / max(1.0, epochs) * given.get("encoding_flops", 0)
    return Work(trained + validated, counted.total, flops)


def of(job: Job, work: Work | None, *, runs_here: bool) -> Estimated | None:
    """Return the time of a job; None where neither a finished job nor its arithmetic shows it."""
    known = timed.newest(job)
    if known is not None:
        return _as(known, work, job.workload.epochs)
    if work is None or work.flops is None:
        return None
    speed, name = speed_of(job, runs_here=runs_here)
    return Estimated(_computed(job, work, speed), "arithmetic", _derivation(work, speed, name))


def _as(known: timed.Timed, work: Work | None, epochs: int | None) -> Estimated:
    """Return the time of a finished job, scaled by the work; its start does not grow with that."""
    scale, what = 1.0, ""
    if work is not None and work.flops and known.flops:
        scale, what = work.flops / known.flops, "by its arithmetic"
    elif work is not None and known.amount:
        scale, what = work.samples / known.amount, "by its samples"
    elif epochs and known.epochs:
        scale, what = epochs / known.epochs, "by its epochs"
    fixed = min(0.9, START.high / known.seconds)
    partly = fixed + (1 - fixed) * scale
    span = Span(min(scale, partly) * REPEATED.low, max(scale, partly) * REPEATED.high) * known.seconds
    how = f"job {known.job_id} took {known.seconds:.3g} s"
    how += f", times {scale:.2g} {what}" if round(scale, 2) != 1 else ", and this one is like it"
    return Estimated(span, f"job {known.job_id}", how)


def _computed(job: Job, work: Work, speed: Span) -> Span:
    processes, flops = job.resources.world_size, work.flops or 0.0
    arithmetic = Span(flops / speed.high, flops / speed.low)
    reading = SAMPLE * work.samples + _answers(work, job.resources.device) + arithmetic
    return START + STEP[job.resources.device] * work.steps + reading * (1 / processes)


def _answers(work: Work, device: str) -> Span:
    """Return the seconds of writing answers, from the shortest ones to the longest."""
    rate = WEIGHTS[device]
    token = TOKEN + Span(work.weight_bytes / rate.high, work.weight_bytes / rate.low)
    return Span(token.low * min(FEWEST_TOKENS, work.tokens), token.high * work.tokens) * work.batches


def _derivation(work: Work, speed: Span, name: str) -> str:
    low, high = (float(f"{number / 1e9:.2g}") for number in (speed.low, speed.high))
    counted = f"{work.flops:.2g} FLOP of {work.samples:.0f} samples"
    counted += ", validations included" if work.steps else ""
    counted += f" with answers of at most {work.tokens} tokens" if work.tokens else ""
    counted += f", at {low:g} to {high:g} GFLOP/s of {name}"
    return f"{counted}, and typical times of start, steps and reading; nothing like it was timed yet"


def speed_of(job: Job, *, runs_here: bool) -> tuple[Span, str]:
    """Return the FLOP/s of one process, and what computes."""
    if job.resources.device == "cpu":
        return CPU_FLOPS, "a process on a CPU"
    name = _gpu() if runs_here else None
    peak = devices.peak_flops(name) if name else None
    if name is None or peak is None:
        return Span(OTHER_GPUS.low * GPU_SHARE.low, OTHER_GPUS.high * GPU_SHARE.high), name or "an unknown GPU"
    return GPU_SHARE * peak, name


def _gpu() -> str | None:
    if find_spec("pynvml") is None:
        return None
    try:
        return next((gpu.name for gpu in hardware.list_gpus()), None)
    except hardware.NoDriverError:
        return None
