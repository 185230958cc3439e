"""Finished jobs that show how long a job like them takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.contracts import Job, State, to_json
from tao_skill_bank.core import numbers
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.runs.run_directory import RunDirectory, epoch_seconds

SAMPLED_JOBS = 200  # newest records that are looked through


@dataclass(frozen=True)
class Timed:
    """A finished job of the same action, model and processes.

    Attributes:
        seconds: that it took, its start included.
        amount: samples that it read, over all epochs; None where its plan does not say.
        flops: of its samples, where its plan says so.
        epochs: of a training.

    """

    job_id: str
    seconds: float
    amount: float | None
    flops: float | None
    epochs: float | None = None


def newest(job: Job) -> Timed | None:
    """Return the newest finished job of the same action, model, place and processes; None without one."""
    ended = [record for record in JobStore().all() if record.terminal_state is State.COMPLETE][:SAMPLED_JOBS]
    for record in ended:
        if (record.skill, record.action) != (job.skill, job.action):
            continue
        run = RunDirectory.of(record.results_dir, record.id)
        document = run.plan_document()
        if document.get("study") is None and _is_like(document.get("job"), job) and (seconds := _seconds(run)):
            epochs = numbers.finite((document["job"].get("workload") or {}).get("epochs"))
            return Timed(record.id, seconds, *_work(document), epochs)
    return None


def _seconds(run: RunDirectory) -> float | None:
    """Return the time from the first to the last status; metrics are not read, which may be many."""
    first, last = next(run.status_lines(), {}), run.last_status()
    began, ended = epoch_seconds(first.get("time")), epoch_seconds(last.get("time"))
    return ended - began if began and ended and ended > began else None


def _is_like(there: Any, job: Job) -> bool:
    if not isinstance(there, dict):
        return False
    workload, platform = there.get("workload") or {}, there.get("platform") or {}
    same_model = _same_model(workload, job)
    same_place = platform.get("name") == job.platform.name and there.get("resources") == to_json(job.resources)
    return same_model and same_place and not workload.get("resume") and not workload.get("max_steps")


def _work(document: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the samples and FLOPs that the plan of a job counted; plans of earlier releases have steps only."""
    found = document.get("findings")
    findings = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    by_code = {str(each.get("code")): each.get("evidence") or {} for each in findings}
    own = by_code.get("estimate", {})
    if amount := numbers.finite(own.get("samples")):
        return amount, numbers.finite(own.get("flops")) or None
    steps, workload = by_code.get("steps", {}), document["job"].get("workload") or {}
    records, epochs = numbers.finite(steps.get("records")), numbers.finite(workload.get("epochs"))
    return (records * epochs if records and epochs else None), None


def _same_model(workload: Mapping[str, Any], job: Job) -> bool:
    """Return whether jobs load the same model; adapters of a base are alike in time."""
    return (workload.get("base_model") or workload.get("model")) == (job.workload.base_model or job.workload.model)
