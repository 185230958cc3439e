"""What a run has spent of its limits, and whether a step fits into what is left."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tao_skill_bank.automl.plan import study
from tao_skill_bank.contracts import JobRecord, Plan, State
from tao_skill_bank.core import hosts, numbers
from tao_skill_bank.errors import BlockedError, Problem, TaoSkillsError
from tao_skill_bank.jobs import launched
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.preflight.machine import duration
from tao_skill_bank.workflows.declaration import Limits
from tao_skill_bank.workflows.history import History
from tao_skill_bank.workflows.stage import Need

URL = re.compile(r"https?://\S+", re.IGNORECASE)
SECONDS_PER_HOUR = 3600.0
PLAN_AGAIN = "Raise limits.{name} in the workflow, and run it in another --folder."


@dataclass(frozen=True)
class Spent:
    """What a run has used so far."""

    gpu_hours: float = 0.0
    disk_gib: float = 0.0
    rows: int = 0


@dataclass(frozen=True)
class Request:
    """What a step will take: hours as the fewest and the most that are expected, None where that is not known."""

    step: str
    hours: tuple[float, float] | None = None
    need: Need = field(default_factory=Need)


def spent(folder: Path, history: History) -> Spent:
    """Return what a run has used: hours of its jobs, the size of its folder, rows of its stages."""
    hours = sum(hours_of(job_id) for job_id in history.job_ids)
    return Spent(hours, _size(folder) / 2**30, history.rows)


def hours_of(job_id: str) -> float:
    """Return the hours of all processes of a job; 0 for one that was never launched."""
    try:
        record = JobStore().read(job_id)
        processes = processes_of(launched.plan_of(record))
    except TaoSkillsError:  # never launched, or its folder is gone
        return 0.0
    return seconds_of(record) / SECONDS_PER_HOUR * processes


def processes_of(plan: Plan) -> int:
    """Return how many processes a plan's job has at once; a search, those of its parallel trials."""
    parallel = 1 if plan.study is None else study.of_plan(plan).parallel
    return plan.job.resources.world_size * parallel


def seconds_of(record: JobRecord) -> float:
    """Return how long a job has run, from its first RUNNING or, where that was not seen, from its record."""
    began = next((each for each in record.transitions if each.state is State.RUNNING), record.transitions[0])
    start = datetime.fromisoformat(began.ts)
    is_over = record.terminal_state is not None
    end = datetime.fromisoformat(record.transitions[-1].ts) if is_over else datetime.now(UTC)
    return max(0.0, (end - start).total_seconds())


def of_plan(step: str, plan: Plan) -> Request:
    """Return what the job of a plan will take, as its findings say."""
    evidence: dict[str, Any] = next((each.evidence for each in plan.findings if each.code == duration.CODE), {})
    hours = list(evidence.get("device_hours") or ())
    known = (float(hours[0]), float(hours[1])) if len(hours) == 2 else None
    disk = [numbers.finite(each.evidence.get("needed_bytes")) for each in plan.findings]
    size = max((each for each in disk if each is not None), default=0.0) / 2**30
    given = {"spec": plan.job.spec, "automl": plan.request.automl, "options": plan.request.platform.options}
    return Request(step, known, Need(disk_gib=size, hosts=tuple(dict.fromkeys(_hosts(given)))))


def require(limits: Limits, used: Spent, wanted: Request) -> None:
    """Refuse a step that does not fit into the limits. Raises BlockedError with every limit that it exceeds."""
    problems = [*_problems(limits, used, wanted)]
    if problems:
        raise BlockedError(problems)


def seconds_left(limits: Limits, used: Spent, plan: Plan) -> float | None:
    """Return how long the job of a plan may run before the hours are spent; None without a limit."""
    if limits.gpu_hours is None:
        return None
    left = float(limits.gpu_hours) - used.gpu_hours
    return max(0.0, left) * SECONDS_PER_HOUR / processes_of(plan)


def hours_exceeded(step: str, limits: Limits, used: Spent) -> Problem:
    """Return the problem of a run whose hours are spent."""
    message = f"The step '{step}' is beyond the limit of {limits.gpu_hours} GPU hours: {used.gpu_hours:.3g} are spent."
    return Problem("limit_gpu_hours", message, PLAN_AGAIN.format(name="gpu_hours"), step)


def _problems(limits: Limits, used: Spent, wanted: Request) -> Iterator[Problem]:
    if limits.gpu_hours is not None:
        fewest = wanted.hours[0] if wanted.hours else 0.0
        if used.gpu_hours >= float(limits.gpu_hours):
            yield hours_exceeded(wanted.step, limits, used)
        elif used.gpu_hours + fewest > float(limits.gpu_hours):
            message = f"The step '{wanted.step}' needs at least {fewest:.3g} GPU hours; of the limit of "
            message += f"{limits.gpu_hours}, {used.gpu_hours:.3g} are spent."
            yield Problem("limit_gpu_hours", message, PLAN_AGAIN.format(name="gpu_hours"), wanted.step)
    amounts = {
        "disk_gib": (limits.disk_gib, used.disk_gib, wanted.need.disk_gib, "GiB of disk"),
        "rows": (limits.rows, used.rows, wanted.need.rows, "rows"),
    }
    for name, (limit, taken, needed, unit) in amounts.items():
        if limit is not None and taken + needed > float(limit):
            message = f"The step '{wanted.step}' needs {needed:.3g} {unit}; of the limit of {limit}, {taken:.3g} "
            yield Problem(f"limit_{name}", f"{message}are taken.", PLAN_AGAIN.format(name=name), wanted.step)
    for host in wanted.need.hosts:
        if not hosts.is_loopback(host) and host not in limits.hosts:
            message = f"The step '{wanted.step}' sends data to {host}, which limits.hosts does not list."
            fix = f"Add {host} to limits.hosts if data may go there, and plan the workflow again."
            yield Problem("host_not_allowed", message, fix, wanted.step, host)


def _hosts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for child in value.values():
            yield from _hosts(child)
    elif isinstance(value, (list, tuple)):
        for child in value:
            yield from _hosts(child)
    elif isinstance(value, str):
        yield from (host for found in URL.findall(value) if (host := hosts.of_url(found)))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if path.is_file() and not path.is_symlink() else 0
        except OSError:  # removed meanwhile
            continue
    return total
