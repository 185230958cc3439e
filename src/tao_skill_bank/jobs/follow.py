"""Watching a job: a live progress bar on a terminal, an occasional line elsewhere."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from tao_skill_bank.contracts import JobStatus, State
from tao_skill_bank.core import numbers, plain_text
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.runs import results
from tao_skill_bank.runs.run_directory import RunDirectory, last_json_line

POLL_SECONDS = 0.25
PLAIN_LINE_SECONDS = 10.0
LOSSES = {"train/loss_avg": "loss", "val/avg_loss": "val loss"}  # what trainings of every model call them
STYLES = {State.COMPLETE: "green", State.ERROR: "red", State.CANCELED: "yellow"}


@dataclass(frozen=True)
class _Moment:
    """A snapshot of a job to display."""

    status: JobStatus
    losses: dict[str, float]

    @property
    def step(self) -> int:
        return int(self.status.progress.get("step") or 0)

    @property
    def total(self) -> int | None:
        return int(self.status.progress.get("total") or 0) or None

    @property
    def phase(self) -> str:
        """What a running job does besides its own steps, without its counts; empty while it takes steps."""
        return str(self.status.progress.get("phase") or "")

    @property
    def waits_for(self) -> str:
        """What the job waits for or does before, between and after its steps; empty while it takes steps."""
        is_stepping = self.status.state is State.RUNNING and bool(self.step) and not self.phase
        return "" if is_stepping or self.status.state.is_terminal else plain_text.on_one_line(self.status.message)

    @property
    def details(self) -> str:
        """What it waits for, the losses and the remaining time, where known."""
        parts = [self.waits_for] if self.waits_for else []
        parts += [f"{name} {value:.4g}" for name, value in self.losses.items()]
        eta_seconds = self.status.progress.get("eta_seconds")
        if isinstance(eta_seconds, (int, float)) and not self.status.state.is_terminal:
            parts.append(f"eta {_duration(eta_seconds)}")
        return "  ".join(parts)


def follow(
    handle: JobHandle, console: Console, min_percent: float = 0, timeout_seconds: float | None = None
) -> JobStatus:
    """Show a job until it ends, or to the timeout, and return its status; Ctrl-C stops watching, not the job.

    Two lines about the same state are at least `min_percent` of all steps apart; a live bar is not affected.
    The caller reports why it failed or has not ended, and what to do about it.
    """
    record = handle.record
    try:
        moments = _moments(handle, handle.run_directory, timeout_seconds)
        last = _show_live(moments, console) if console.is_terminal else _show_lines(moments, console, min_percent)
    except KeyboardInterrupt:
        _say(console, f"Job {record.id} keeps running.")
        _say(console, f"Watch it again: tao-skills watch {record.id}")
        _say(console, f"Stop it:        tao-skills cancel {record.id}")
        return handle.status()
    return last.status


def _moments(handle: JobHandle, run: RunDirectory, timeout_seconds: float | None) -> Iterator[_Moment]:
    deadline = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
    losses: dict[str, float] = {}
    metric = results.metric_of(run)
    shown = {metric.name: metric.name} | LOSSES if metric else LOSSES
    while True:
        status = handle.status()
        losses |= _values(last_json_line(run.metrics_file), shown)
        yield _Moment(status, dict(losses))
        left = deadline - time.monotonic()
        if status.state.is_terminal or left <= 0:
            return
        time.sleep(min(POLL_SECONDS, left))


def _values(line: dict[str, Any], shown: Mapping[str, str]) -> dict[str, float]:
    found = ((name, line.get(key)) for key, name in shown.items())
    return {name: number for name, value in found if (number := numbers.finite(value)) is not None}


def _show_live(moments: Iterator[_Moment], console: Console) -> _Moment:
    columns = (
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.fields[state]:<8}"),
        BarColumn(bar_width=30),
        TaskProgressColumn("{task.completed:g}/{task.fields[steps]} steps", show_speed=False),
        TextColumn("{task.fields[details]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=None, state="", steps="?", details="")
        for moment in moments:
            progress.update(task, completed=moment.step, total=moment.total)
            state, steps = moment.status.state.value, moment.total or "?"
            progress.update(task, state=state, steps=steps, details=moment.details)
    _show_end(moment, console)
    return moment


def _show_lines(moments: Iterator[_Moment], console: Console, min_percent: float) -> _Moment:
    shown, shown_text, shown_step, shown_at = None, "", -1, 0.0
    for moment in moments:
        state, now = moment.status.state, time.monotonic()
        news, text = (state, moment.phase), f"{moment.step} {moment.waits_for}"
        advance = moment.step - shown_step
        is_far = advance == 0 or advance >= (moment.total or 0) * min_percent / 100
        is_due = text != shown_text and is_far and now - shown_at >= PLAIN_LINE_SECONDS
        if not state.is_terminal and (news != shown or is_due):
            steps = f"  step {moment.step}/{moment.total or '?'}" if moment.step else ""
            _say(console, f"{moment.status.id}  {state}{steps}  {moment.details}".rstrip())
            shown, shown_text, shown_step, shown_at = news, text, moment.step, now
    _show_end(moment, console)
    return moment


def _show_end(moment: _Moment, console: Console) -> None:
    status = moment.status
    if not status.state.is_terminal:
        return  # the caller says that it has not ended
    steps = f" after {moment.step} steps" if moment.step else ""
    style = STYLES.get(status.state, "") if console.is_terminal else ""
    message = f": {status.message}" if status.state is State.COMPLETE and status.message else ""
    _say(console, f"{status.id}  {status.state}{steps}{message}", style)


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
