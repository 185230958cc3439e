"""The expected time of a search: its trainings and its evaluations, from the estimate of one training."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Protocol

from tao_skill_bank.automl.plan.algorithms import Setup
from tao_skill_bank.automl.plan.options import AutomlOptions, Metric
from tao_skill_bank.automl.plan.space import Space
from tao_skill_bank.bank.skill_info import AutomlKeys
from tao_skill_bank.contracts import OMITTED_IF_EMPTY, Finding, Job, Request, contract
from tao_skill_bank.core.findings import info
from tao_skill_bank.core.spans import Span
from tao_skill_bank.jobs import timed
from tao_skill_bank.preflight.machine import duration


class Searched(Protocol):
    """The parts of a study that its time depends on."""

    @property
    def options(self) -> AutomlOptions: ...
    @property
    def space(self) -> Space: ...
    @property
    def keys(self) -> AutomlKeys: ...
    @property
    def metric(self) -> Metric: ...
    @property
    def rungs(self) -> bool: ...
    @property
    def max_epochs(self) -> int: ...
    @property
    def parallel(self) -> int: ...
    def setup(self) -> Setup:
        """Return what the algorithm is built from."""


@contract
class Estimate:
    """The expected time of a search, and how it was computed; numbers are None where nothing is known.

    Attributes:
        epochs: of all trials, at most.
        seconds, gpu_hours: geometric means of their ranges; the hours are those of processes, on a CPU too.
        how: what they were computed from.
        evaluations: of checkpoints, before, during and after the search.
        seconds_range, device_hours: low and high.
        device: what the hours are of.
        source: the job that was timed, or arithmetic.

    """

    epochs: int
    seconds: float | None
    gpu_hours: float | None
    how: str
    evaluations: Annotated[int, OMITTED_IF_EMPTY] = 0
    seconds_range: Annotated[tuple[float, ...], OMITTED_IF_EMPTY] = ()
    device_hours: Annotated[tuple[float, ...], OMITTED_IF_EMPTY] = ()
    device: Annotated[str, OMITTED_IF_EMPTY] = ""
    source: Annotated[str, OMITTED_IF_EMPTY] = ""


def of(study: Searched, job: Job, request: Request, findings: Sequence[Finding]) -> Estimate:
    """Return the expected time of a search, from the finding that estimates a training with the request's own spec."""
    epochs, evaluations = _epochs(study), _evaluations(study, request)
    counted = f"about {epochs} epochs, as 1 of {study.options.eta} trials resumes after each rung"
    counted = counted if study.rungs else f"at most {epochs} epochs"
    counted += f" and {evaluations} evaluations" if evaluations else ""
    one = next((found.evidence for found in findings if found.code == duration.CODE), None)
    if one is None:
        return Estimate(epochs, None, None, f"{counted}; how long a training takes is not known", evaluations)
    whole = _trainings(study, job, one, epochs) + _evaluating(study, job, one) * evaluations
    hours = duration.device_hours(whole, job.resources.world_size)
    seconds = whole * (1 / study.parallel)
    how = f"{counted}, {study.parallel} at once; of one training: {one['how']}"
    return Estimate(
        epochs,
        seconds.middle,
        hours.middle,
        how,
        evaluations,
        tuple(seconds.rounded),
        tuple(hours.rounded),
        job.resources.device,
        str(one["source"]),
    )


def finding(found: Estimate | None, job: Job) -> list[Finding]:
    """Return the estimate of a search as the finding of a plan; nothing where it is not known."""
    if found is None or not found.seconds_range:
        return []
    evidence: dict[str, Any] = {
        "seconds": list(found.seconds_range),
        "device_hours": list(found.device_hours),
        "device": found.device,
        "source": found.source,
        "how": found.how,
        "epochs": found.epochs,
        "evaluations": found.evaluations,
    }
    return [info(duration.CODE, f"The search takes {text(found, job.resources.hours)}.", **evidence)]


def text(found: Estimate, hours: str) -> str:
    """Return an estimate in words."""
    if found.seconds is None or found.gpu_hours is None:
        return f"not known: {found.how}"
    if not found.seconds_range:  # of an earlier release
        return f"about {found.seconds / 60:.1f} min and {found.gpu_hours:.3g} {hours}: {found.how}"
    low, high = found.device_hours
    return f"about {Span(*found.seconds_range).text()} ({low:g} to {high:g} {hours}): {found.how}"


def _epochs(study: Searched) -> int:
    """Return the epochs of all trials: the most that each may be asked for, or as successive halving shares them."""
    trials = study.options.max_trials
    if not study.rungs:
        searched = next((each for each in study.space.dimensions if each.name == study.keys.epochs), None)
        return trials * (int(searched.high) if searched is not None else study.max_epochs)
    rungs = study.setup().rungs
    steps = [rung - before for before, rung in zip((0, *rungs), rungs, strict=False)]
    return sum(math.ceil(trials / study.options.eta**place) * step for place, step in enumerate(steps))


def _starts(study: Searched) -> int:
    """Return how many trainings are started: one of a trial, and one whenever it resumes after a rung."""
    trials = study.options.max_trials
    if not study.rungs:
        return trials
    return sum(math.ceil(trials / study.options.eta**place) for place in range(len(study.setup().rungs)))


def _evaluations(study: Searched, request: Request) -> int:
    """Return the evaluations of a search: of the base, of the best, and of every trial where the metric is one."""
    keys = study.keys.evaluation
    if "eval" not in request.datasets:
        return 0
    around = 0 if keys is None else 1 + keys.scores_base
    return around + (_starts(study) if study.metric.action is not None else 0)


def _trainings(study: Searched, job: Job, one: dict[str, Any], epochs: int) -> Span:
    """Return the seconds of all trainings; the start of each does not grow with its epochs."""
    whole = Span(*one["seconds"])
    start = Span(min(duration.START.low, whole.low / 2), min(duration.START.high, whole.high / 2))
    own = job.workload.epochs or study.max_epochs
    each = Span(whole.low - start.low, whole.high - start.high) * (1 / own)
    return each * epochs + start * _starts(study)


def _evaluating(study: Searched, job: Job, one: dict[str, Any]) -> Span:
    """Return the seconds of one evaluation: of a finished one, else from a start to as long as a training."""
    action = study.metric.action or (study.keys.evaluation.action if study.keys.evaluation else job.action)
    known = timed.newest(replace(job, action=action))
    if known is not None:
        return duration.REPEATED * known.seconds
    return Span(duration.START.low, max(2 * duration.START.high, Span(*one["seconds"]).high))
