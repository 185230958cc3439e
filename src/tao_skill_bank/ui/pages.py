"""The pages: all jobs, one job with its curves and log, its report, its clips."""

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tao_skill_bank import report
from tao_skill_bank.automl.run import page as search_page
from tao_skill_bank.automl.run.trials import open_search
from tao_skill_bank.contracts import JobRecord, JobStatus, State
from tao_skill_bank.core import regular_files
from tao_skill_bank.core.masked_log import masked_log
from tao_skill_bank.errors import Problem
from tao_skill_bank.jobs import service
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.report import charts, views
from tao_skill_bank.runs.run_directory import RunDirectory
from tao_skill_bank.ui import clips

MAX_JOBS = 200
LOG_BYTES = 32 * 1024
REFRESH_SECONDS = 3
FAILED = (State.ERROR, State.CANCELED)


@dataclass(frozen=True)
class JobView:
    """A job as its page shows it; `log` is the end of its log, masked."""

    record: JobRecord
    status: JobStatus
    run: views.RunView
    is_search: bool
    num_clips: int
    log: str

    @property
    def percent(self) -> float | None:
        """How far it is; None where that is not known."""
        step, total = self.status.progress.get("step"), self.status.progress.get("total")
        return 100 * step / total if isinstance(step, int) and isinstance(total, int) and total > 0 else None


def of_jobs(words: str = "", state: str = "") -> str:
    """Return the newest jobs that have a state and whose id, skill, action or folder contains every word."""
    records, problems = service.look()
    counts = Counter(str(record.state) for record in records)
    found = [record for record in records if state in ("", str(record.state)) and _contains(record, words)]
    return _render(
        "jobs.html.jinja",
        jobs=found[:MAX_JOBS],
        num_found=len(found),
        num_jobs=len(records),
        counts=counts,
        words=words,
        state=state,
        problems=problems,
        is_live=any(record.terminal_state is None for record in found[:MAX_JOBS]),
    )


def of_job(job_id: str) -> str:
    """Return the page of a job. Raises UnknownNameError."""
    seen = _view(job_id)
    drawn = charts.of_training(seen.run.title, seen.run.curves, seen.run.result.metric)
    return _render("job.html.jinja", job=seen, charts=drawn, is_live=not seen.status.state.is_terminal)


def report_of(job_id: str) -> str:
    """Return the report of a job or search as it is now; nothing is written. Raises UnknownNameError."""
    handle = JobHandle(job_id)
    now, run = handle.status(), handle.run_directory
    if _is_search(run):
        return search_page.text(open_search(run.path), now.state, now.message)
    return report.page_of([views.read("", run)])


def clips_of(job_id: str, number: int = 1, shown: str = "all") -> str:
    """Return a page of a job's clips; `shown` is one of `clips.SHOWN`. Raises UnknownNameError."""
    run = run_of(job_id)
    page = clips.page(run, number, shown if shown in clips.SHOWN else clips.SHOWN[0])
    return _render("clips.html.jinja", job_id=job_id, run=run, page=page, shown=shown, is_live=False)


def of_problem(title: str, problem: Problem) -> str:
    """Return the page of what cannot be shown."""
    return _render("problem.html.jinja", title=title, problem=problem, is_live=False)


def run_of(job_id: str) -> views.RunView:
    """Return what a job's run directory holds. Raises UnknownNameError."""
    return views.read("", JobHandle(job_id).run_directory)


def _view(job_id: str) -> JobView:
    handle = JobHandle(job_id)
    status, run = handle.status(), handle.run_directory
    seen = views.read("", run)
    return JobView(handle.record, status, seen, _is_search(run), len(clips.clips_of(seen)), _end_of_log(run))


def _is_search(run: RunDirectory) -> bool:
    return run.plan_document().get("study") is not None


def _end_of_log(run: RunDirectory) -> str:
    """Return the last lines of a log, masked; empty where this machine has none."""
    try:
        with regular_files.opened(run.log_file) as file:
            start = max(0, file.seek(0, os.SEEK_END) - LOG_BYTES)
            file.seek(start)
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "".join(masked_log([text.partition("\n")[2] if start else text]))


def _contains(record: JobRecord, words: str) -> bool:
    text = " ".join((record.id, record.skill, record.action, record.platform, record.results_dir)).lower()
    return all(word in text for word in words.lower().split())


def _render(template: str, **shown: Any) -> str:
    common = {"failed": FAILED, "refresh_seconds": REFRESH_SECONDS}
    return report.render(template, templates="tao_skill_bank.ui", **common, **shown)
