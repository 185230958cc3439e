"""How a command shows the end of a job."""

import time
from typing import NoReturn

import typer

from tao_skill_bank.cli import waiting
from tao_skill_bank.cli.output import (
    command,
    document,
    print_findings,
    print_json,
    print_next,
    print_problems,
    progress_console,
    progress_percent,
)
from tao_skill_bank.contracts import JobStatus, State, to_json
from tao_skill_bank.errors import Problem, TaoSkillsError
from tao_skill_bank.jobs import remote_results, service
from tao_skill_bank.jobs.follow import follow
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.planning import retries
from tao_skill_bank.runs.run_directory import EMBEDDINGS_FILE, RunDirectory

EXIT_UPLOAD = 6


def report_end(
    handle: JobHandle, as_json: bool, max_retries: int = 0, timeout_seconds: float | None = None
) -> NoReturn:
    """Follow a job to its end, print how it ended and exit with 0, 8 when it failed, 6 when only its upload did.

    A job that ends by an infrastructure failure is retried, at most `max_retries` times. One that has not ended at the
    timeout, or when Ctrl-C stops the watching, continues; the exit code is 9.
    """
    handle, status = _followed(handle, max_retries, timeout_seconds)
    if not status.state.is_terminal:
        _report_not_ended(handle, status, as_json, timeout_seconds)
    code = 0 if status.state is State.COMPLETE else 8
    following = [next_command(handle, status)]
    problems = [_failure(handle.id, status, following[0])] if code else []
    if remote_results.is_short(status):
        code, following = EXIT_UPLOAD, [command("data", "upload", handle.id)]
        problems = [Problem("upload_incomplete", f"Job {handle.id}: {status.message}", following[0], path=handle.id)]
    if as_json:
        payload = {"job_id": handle.id, "state": str(status.state), "result": to_json(handle.result())}
        print_json(document(payload, code=code, problems=problems, findings=status.findings, following=following))
    else:
        print_findings(status.findings)
        print_problems(problems)
        record = handle.record
        typer.echo(f"{handle.id}\t{status.state}\t{record.results_uri or record.results_dir}")
        print_next(following)
    raise typer.Exit(code)


def _report_not_ended(handle: JobHandle, status: JobStatus, as_json: bool, timeout_seconds: float | None) -> NoReturn:
    """Print how far a job is that continues, and how to watch it further."""
    following = [waiting.again([handle.id], timeout_seconds), next_command(handle, status)]
    problem = service.not_ended(status, following[0])
    if as_json:
        payload, code = waiting.payload(status), waiting.EXIT_NOT_ENDED
        print_json(document(payload, code=code, problems=[problem], findings=status.findings, following=following))
    else:
        print_findings(status.findings)
        typer.echo(problem.message, err=True)
        typer.echo(f"{handle.id}\t{status.state}\t{handle.record.results_dir}")
        print_next(following)
    raise typer.Exit(waiting.EXIT_NOT_ENDED)


def _followed(handle: JobHandle, max_retries: int, timeout_seconds: float | None) -> tuple[JobHandle, JobStatus]:
    """Return the last of a job's retries and how it ended, or is at the timeout."""
    console = progress_console()
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    status = follow(handle, console, progress_percent(), timeout_seconds)
    for number in range(1, max_retries + 1):
        if not status.state.is_terminal or not retries.may_retry(handle.record):
            break
        pause = retries.pause_seconds(number)
        typer.echo(f"{handle.id}  {status.message}", err=True)
        typer.echo(f"Retry {number} of {max_retries} in {pause:g} s.", err=True)
        time.sleep(pause)
        other = retries.newest_of(handle.id)  # retried by someone else meanwhile
        handle = retries.retry(handle.id) if other is None else JobHandle(other.id)
        if note := retries.avoided(handle):
            typer.echo(note, err=True)
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        status = follow(handle, console, progress_percent(), left)
    return handle, status


def next_command(handle: JobHandle, status: JobStatus) -> str:
    """Return the command that leads on from a job as it is now."""
    run = handle.run_directory
    searches = is_search(run)
    if not status.state.is_terminal:
        return command(*(["automl"] if searches else []), "status", handle.id)
    if searches and (status.is_interrupted or status.state is State.CANCELED):
        return command("automl", "resume", handle.id)
    if searches and status.state is State.COMPLETE:
        return command("automl", "best", handle.id)
    if retries.may_retry(handle.record):
        return command("retry", handle.id)
    return _after_complete(run, handle) if status.state is State.COMPLETE else command("diagnose", handle.id)


def _after_complete(run: RunDirectory, handle: JobHandle) -> str:
    """Return what leads on from a job that is complete: a comparison, a mining of its embeddings, or its report."""
    if measured := _measured_base_of(run, handle):
        return command("report", measured, handle.id)
    if (run.path / EMBEDDINGS_FILE).is_file():
        return command("data", "mine", "--queries", "FILE", "--pool", run.path / EMBEDDINGS_FILE, "--out", "FOLDER")
    return command("report", handle.id)


def _measured_base_of(run: RunDirectory, handle: JobHandle) -> str | None:
    """Return the job of the same action whose base a job measured: the two are compared next."""
    request = run.plan_document().get("request")
    parent = request.get("parent_job_id") if isinstance(request, dict) and request.get("base") is True else None
    if not isinstance(parent, str):
        return None
    try:
        return parent if JobHandle(parent).record.action == handle.record.action else None
    except TaoSkillsError:  # its record is gone
        return None


def is_search(run: RunDirectory) -> bool:
    """Tell whether a run directory is a search's; a plan that cannot be read is none."""
    return run.plan_document().get("study") is not None


def _failure(job_id: str, status: JobStatus, following: str) -> Problem:
    message = f"Job {job_id} ended as {status.state}: {status.message}"
    if status.is_interrupted:
        return Problem("job_interrupted", message, f"Resume it with: {following}", path=job_id)
    verb = "Resume it with" if following.startswith("tao-skills retry") else "Find the cause with"
    return Problem("job_failed", message, f"{verb}: {following}", path=job_id)
