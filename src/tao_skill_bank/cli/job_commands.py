"""status, logs, cancel, jobs, report, diagnose."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tao_skill_bank.cli.job_names import suggests_jobs
from tao_skill_bank.cli.output import (
    FullFlag,
    JsonFlag,
    command,
    document,
    print_findings,
    print_json,
    print_next,
    print_problems,
    print_rows,
)
from tao_skill_bank.cli.waiting import EXIT_NOT_ENDED, TimeoutOption, again, payload, require_timeout
from tao_skill_bank.core import plain_text
from tao_skill_bank.errors import RequestError, UnknownNameError

if TYPE_CHECKING:
    from tao_skill_bank.contracts import JobRecord, JobStatus
    from tao_skill_bank.errors import Problem
    from tao_skill_bank.jobs.events import Event
    from tao_skill_bank.jobs.service import JobHandle
    from tao_skill_bank.runs.run_directory import RunDirectory

JobId = Annotated[str, typer.Argument(help="Job id.")]


@suggests_jobs
def status(
    job: JobId,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Take over a job that was launched under an earlier name of this machine."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Ask the platform for a job's state."""
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.jobs import ownership
    from tao_skill_bank.jobs import service as job_verbs

    now = ownership.adopt(job) if adopt else job_verbs.status(job)
    if as_json:
        following, metrics = _ended(now) if now.state.is_terminal else ([], {})
        print_json(document({**to_json(now), **metrics}, following=following))
    else:
        progress = now.progress
        step = f"step {progress.get('step') or 0}/{progress['total']}" if progress.get("total") else ""
        print_rows(("job", "state", "progress", "message"), [(now.id, now.state, step, now.message)])
        print_findings(now.findings)


def _ended(now: "JobStatus") -> "tuple[list[str], dict[str, Any]]":
    """Return what leads on from a job that has ended, and its metrics where it is complete."""
    from tao_skill_bank.cli.job_end import next_command
    from tao_skill_bank.contracts import State
    from tao_skill_bank.jobs.service import JobHandle

    handle = JobHandle(now.id)
    found = _metrics(handle.run_directory) if now.state is State.COMPLETE else {}
    return [next_command(handle, now)], {"metrics": found} if found else {}


@suggests_jobs
def logs(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stream the log until the job ends.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print a job's log, credentials masked."""
    from tao_skill_bank.core.masked_log import masked_log
    from tao_skill_bank.core.redact import plain_output
    from tao_skill_bank.jobs import service as job_verbs

    text = masked_log(job_verbs.log_text(job, follow=follow))
    if as_json:
        print_json(document({"job_id": job, "lines": "".join(text).split("\n")[:-1]}), is_masked=True)
        return
    with plain_output():  # it is masked already
        for piece in text:
            typer.echo(piece, nl=False)


@suggests_jobs
def watch(
    job: Annotated[list[str] | None, typer.Argument(help="Job ids; every unfinished job by default.")] = None,
    post: Annotated[
        str | None,
        typer.Option("--post", envvar="TAO_POST_URL", help="Post every state change as JSON to this URL."),
    ] = None,
    timeout: TimeoutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Follow jobs until they end: the progress of one, every state change of several. Ctrl-C leaves them running.

    Exit code 0: all are COMPLETE. 8: one failed. 9: one has not ended, at the timeout or at Ctrl-C.
    """
    from tao_skill_bank.cli.job_end import report_end
    from tao_skill_bank.jobs.service import JobHandle
    from tao_skill_bank.jobs.store import JobStore

    require_timeout(timeout, job)
    if job and len(job) == 1 and post is None:
        report_end(JobHandle(job[0]), as_json, timeout_seconds=timeout)
    _watch_transitions(job or JobStore().live_ids(), post, as_json, timeout)


def _watch_transitions(job_ids: list[str], post: str | None, as_json: bool, timeout: float | None) -> None:
    """Print every state change, one line each, and post it; an unreachable receiver does not stop the watch."""
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.jobs import events as transitions
    from tao_skill_bank.jobs import service as job_verbs

    webhook = transitions.Webhook(post) if post is not None else None
    seen: list[transitions.Event] = []
    try:
        if webhook is not None and (problem := webhook.offer()):  # what an earlier watch could not deliver
            typer.echo(f"warning: {problem.message}", err=True)
        for event in transitions.events(job_ids, timeout_seconds=timeout):
            seen.append(event)
            if not as_json:
                typer.echo(event.text)
            if webhook is not None and (problem := webhook.offer(event)):
                typer.echo(f"warning: {problem.message}", err=True)
    except KeyboardInterrupt:
        typer.echo("The jobs keep running.", err=True)
    left = _not_ended(seen)
    following = [again(job_ids, timeout)] if left else []
    problems = [*_ends(seen), *([webhook.problem] if webhook and webhook.problem else [])]
    code = 0 if not problems else 8 if problems[0].code == "job_failed" else 6
    code = EXIT_NOT_ENDED if left else code
    if as_json:
        events, running = [to_json(event) for event in seen], [payload(now) for now in left]
        problems += [job_verbs.not_ended(now) for now in left]
        print_json(document({"events": events, "running": running}, code=code, problems=problems, following=following))
        raise typer.Exit(code)
    if not seen:
        typer.echo("No job is running.", err=True)
    for now in left:
        typer.echo(job_verbs.not_ended(now).message, err=True)
    print_problems(problems)
    print_next(following)
    raise typer.Exit(code)


def _not_ended(seen: "list[Event]") -> "list[JobStatus]":
    """Return the jobs that had not ended at their last event, with their progress."""
    from tao_skill_bank.contracts import JobStatus, State
    from tao_skill_bank.jobs.service import JobHandle

    left = []
    for event in {each.job_id: each for each in seen}.values():
        if event.state in (State.PENDING, State.RUNNING):
            known = JobHandle(event.job_id).run_directory.last_status()
            message = str(known.get("message") or event.message)
            left.append(JobStatus(event.job_id, event.state, message, progress=known))
    return left


def _ends(seen: "list[Event]") -> "list[Problem]":
    """Return a problem for each job that did not end well."""
    from tao_skill_bank.contracts import State
    from tao_skill_bank.errors import Problem
    from tao_skill_bank.jobs.service import JobHandle
    from tao_skill_bank.planning.retries import may_retry

    problems = []
    for event in {each.job_id: each for each in seen}.values():
        if event.state is State.UNKNOWN:
            problems.append(Problem("job_unreadable", event.message, f"See: {command('jobs')}", event.job_id))
        if event.state in (State.ERROR, State.CANCELED):
            is_resumable = may_retry(JobHandle(event.job_id).record)
            verb, why = ("retry", "Resume it with") if is_resumable else ("diagnose", "Find the cause with")
            fix = f"{why}: {command(verb, event.job_id)}"
            problems.append(Problem("job_failed", f"Job {event.text}", fix, event.job_id))
    return problems


def cancel(
    job: JobId,
    close: Annotated[
        bool,
        typer.Option("--close", help="Only close the record of a job whose machine or platform is gone."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Stop a job and everything it started."""
    from tao_skill_bank.cli.job_end import is_search
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.jobs import ownership
    from tao_skill_bank.jobs import service as job_verbs

    if close:
        now = ownership.close(job)
    elif is_search(job_verbs.JobHandle(job).run_directory):
        from tao_skill_bank.automl.run import stopping

        now = stopping.cancel(job)
    else:
        now = job_verbs.cancel(job)
    if as_json:
        print_json(document(to_json(now)))
    else:
        typer.echo(f"{now.id}\t{now.state}")
        print_findings(now.findings)


def jobs(
    limit: Annotated[int, typer.Option("--limit", help="Newest jobs shown; 0 shows all.", min=0)] = 20,
    full: FullFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """List jobs, newest first, as last recorded."""
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.jobs import service as job_verbs

    records, problems = job_verbs.look()
    shown = records[:limit] if limit else records
    if as_json:
        broken = [problem.to_json() for problem in problems]
        entries = [to_json(record) if full else _entry(record) for record in shown]
        print_json(document({"jobs": entries, "total": len(records), "broken": broken}))
        return
    for problem in problems:
        typer.echo(f"warning: {plain_text.shown(problem.message)}\n  fix: {plain_text.shown(problem.fix)}", err=True)
    rows = [
        (record.id, record.state, record.platform, record.submitted_at, record.results_dir, _why(record))
        for record in shown
    ]
    print_rows(("job", "state", "platform", "submitted", "results", "why"), rows)


def _entry(record: "JobRecord") -> dict[str, Any]:
    """Return what a list says of a job; a field without a value is left out."""
    entry = {
        "id": record.id,
        "state": str(record.state),
        "skill": record.skill,
        "action": record.action,
        "platform": record.platform,
        "submitted_at": record.submitted_at,
        "results_dir": record.results_uri or record.results_dir,
        "parent_job": record.parent_job,
        "retry_of": record.retry_of,
        "err_class": record.err_class,
        "why": _why(record),
    }
    return {name: value for name, value in entry.items() if value}


def _why(record: "JobRecord") -> str:
    """Return the first sentence of why a job did not end well, with interruptions marked as such."""
    from tao_skill_bank.contracts import State

    is_bad = record.state in (State.ERROR, State.CANCELED)
    return record.transitions[-1].message.partition(". ")[0] if is_bad and record.transitions else ""


@suggests_jobs
def report(
    job: JobId,
    base: Annotated[
        str | None, typer.Argument(help="Job to compare with, such as that of evaluate --base.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML file; report.html in the run directory by default.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="The same as BASE."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a job's result as one self-contained HTML page; for a search, all its trials.

    With BASE, the two evaluations are compared on the questions that both answered, with intervals.
    """
    from tao_skill_bank.cli.job_end import is_search
    from tao_skill_bank.jobs.service import JobHandle
    from tao_skill_bank.report import against as comparison
    from tao_skill_bank.report import write_report
    from tao_skill_bank.report.views import number_text

    earlier = _earlier(job, base, against)
    handle = JobHandle(job)
    now = handle.status()
    folder = _existing(handle)
    target = out or handle.run_directory.report_file
    compared, runs = None, {job: folder}
    if earlier is not None:
        before = _existing(JobHandle(earlier))
        compared = comparison.compare((earlier, before), (job, folder))
        runs = {earlier: before, job: folder}
        path = write_report(runs, target)
    elif is_search(handle.run_directory):
        from tao_skill_bank.automl.run import page as search_page
        from tao_skill_bank.automl.run.trials import open_search

        path = search_page.write(open_search(handle.run_directory.path), target, now.state, now.message)
    else:
        path = write_report({"": folder}, target)
    found = comparison.findings(compared) if compared else []
    metrics = {name: _metrics(run) for name, run in runs.items()}
    if as_json:
        shown = {"metrics": metrics, **({"comparison": comparison.to_json(compared)} if compared else {})}
        print_json(document({"job_id": job, "report": str(path), **shown}, findings=found))
        return
    for name, values in metrics.items():
        typer.echo("\t".join([name, *(f"{metric} {number_text(value)}" for metric, value in values.items())]))
    for line in comparison.lines(compared) if compared else ():
        typer.echo(line)
    print_findings(found)
    typer.echo(path)


def _metrics(run: "RunDirectory") -> dict[str, float]:
    """Return the numbers of a run's result."""
    from tao_skill_bank.runs import results

    return {name: value for name, value in results.read(run).metrics.items() if value is not None}


def _earlier(job: str, base: str | None, against: str | None) -> str | None:
    """Return the job to compare with. Raises RequestError when two are named, or the job itself."""
    if base is not None and against is not None and base != against:
        message = f"Two jobs to compare with are given: {base}, and {against} by --against."
        raise RequestError.of("given_twice", message, "Name one of them.", path="base", got=against)
    earlier = against if base is None else base
    if earlier == job:
        message = f"{job} is to be compared with itself."
        fix = f"Name another job, or leave it out: {command('report', job)}"
        raise RequestError.of("compared_with_itself", message, fix, path="base", got=earlier)
    return earlier


def _existing(handle: "JobHandle") -> "RunDirectory":
    """Return a job's run directory. Raises UnknownNameError when it is gone."""
    found = handle.run_directory
    if not found.plan_file.is_file():
        message = f"The run directory of job {handle.id} is gone: {found.path}."
        raise UnknownNameError.of("run_directory_gone", message, "There is nothing left to report.", path=handle.id)
    return found


@suggests_jobs
def diagnose(
    target: Annotated[str, typer.Argument(help="Job id or log file.")],
    skill: Annotated[
        str | None, typer.Option("--skill", help="The model skill that wrote a log file, whose keys a fix may name.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Find why a job or a log file failed: the root cause and its place, the fix, and whether to retry."""
    from tao_skill_bank.cli.diagnosis_lines import lines, summary
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.jobs import diagnose as diagnosis

    found = diagnosis.diagnose(target, skill)
    if as_json:
        print_json(document({"diagnoses": [to_json(entry) for entry in found], **summary(found)}))
        return
    for line in lines(found):
        typer.echo(plain_text.shown(line))
