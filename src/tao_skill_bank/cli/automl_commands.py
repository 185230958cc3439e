"""automl run, status, resume, best, report: hyperparameter search over trainings."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tao_skill_bank.cli.job_names import suggests_jobs
from tao_skill_bank.cli.output import JsonFlag, command, document, print_json, print_next, print_rows
from tao_skill_bank.cli.request_options import Options, takes_request

if TYPE_CHECKING:
    from tao_skill_bank.automl.run.trials import TrialJobs
    from tao_skill_bank.contracts import JobStatus

app = typer.Typer(no_args_is_help=True)
JobId = Annotated[str, typer.Argument(help="Job id of the search.")]
DetachFlag = Annotated[bool, typer.Option("--detach", help="Return once the controller is submitted.")]


@app.command("run")
@takes_request
def run(options: Options, detach: DetachFlag = False, as_json: JsonFlag = False) -> None:
    """Plan and run a search, whatever the skill's default or --say; follows it unless --detach."""
    from tao_skill_bank.cli.launch_commands import run_search

    fields = tuple(pair for pair in options.fields if pair[0] != "automl_policy")
    run_search(replace(options, fields=(*fields, ("automl_policy", "auto"))), detach=detach, as_json=as_json)


@app.command("status")
@suggests_jobs
def status(job: JobId, as_json: JsonFlag = False) -> None:
    """Show every trial: its state, values, score and time, with the best so far."""
    from tao_skill_bank.automl.run import progress
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.jobs import service

    search = _search(job)
    now = service.status(search.plan.job.id)  # of the newest controller
    shown = progress.of(search)
    following = [_next(now)]
    if as_json:
        payload = {"job_id": now.id, "state": str(now.state), **to_json(shown)}
        print_json(document(payload, following=following))
        return
    print_rows(("trial", "state", "epochs", shown.metric, "s", "by", "values"), progress.rows(shown))
    typer.echo(f"{now.id}\t{now.state}\t{shown.summary}")
    print_next(following)


@app.command("resume")
def resume(job: JobId, detach: DetachFlag = False, as_json: JsonFlag = False) -> None:
    """Resume a search whose controller ended early: running trials are adopted, nothing is run twice."""
    from tao_skill_bank.automl.run import resuming
    from tao_skill_bank.cli.job_end import report_end
    from tao_skill_bank.cli.launch_commands import report_submitted

    handle, sealed = resuming.resume(job)
    if detach:
        report_submitted(sealed, as_json)
        return
    report_end(handle, as_json)


@app.command("best")
@suggests_jobs
def best(job: JobId, as_json: JsonFlag = False) -> None:
    """Show the best trial so far, and the request that trains its spec once."""
    from tao_skill_bank.automl.run import best as best_trial
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.errors import UnknownNameError
    from tao_skill_bank.jobs import service

    search = _search(job)
    found = best_trial.best_of(search.storage.entries())
    if found is None:
        now = service.status(search.plan.job.id)
        fix = f"Wait for one: {command('watch', now.id)}"
        if now.state.is_terminal:
            fix = f"Find the cause with: {command('diagnose', now.id)}"
        raise UnknownNameError.of("no_best_yet", f"No trial of {job} has a score yet.", fix, path=job)
    path = best_trial.write_best_request(search, found)
    payload: dict[str, Any] = {
        "job_id": job,
        "trial": found.number,
        "metric": search.study.metric.title,
        "score": search.plain(found.trial.score),
        "values": dict(found.values),
        "results_dir": str(search.folder(found.number)),
        "request": str(path),
    }
    following = [command("run", "--request", path)]
    if as_json:
        print_json(document({**payload, "spec": to_json(best_trial.best_request(search, found))}, following=following))
        return
    print_rows(("", ""), [(name, value) for name, value in payload.items() if name != "values"])
    print_rows(("parameter", "value"), list(found.values.items()) or [("the request's own values", "")])
    print_next(following)


@app.command("report")
@suggests_jobs
def report(job: JobId, as_json: JsonFlag = False) -> None:
    """Write the search's history, importances, parallel coordinates and rungs as one HTML page."""
    from tao_skill_bank.cli import job_commands

    _search(job)
    job_commands.report(job, as_json=as_json)


def _next(now: "JobStatus") -> str:
    from tao_skill_bank.contracts import State

    if not now.state.is_terminal:
        return command("watch", now.id)
    if now.err_class == "ERR_PROGRAM":  # resumed, it would fail again at once
        return command("diagnose", now.id)
    return command("automl", "best" if now.state is State.COMPLETE else "resume", now.id)


def _search(job: str) -> "TrialJobs":
    """Return the search of a job. Raises UnknownNameError or RequestError."""
    from pathlib import Path

    from tao_skill_bank.automl.run import resuming
    from tao_skill_bank.automl.run.trials import open_search
    from tao_skill_bank.jobs.service import JobStore

    run_dir = Path(JobStore().read(job).results_dir)
    resuming.read_search(run_dir, job)
    return open_search(run_dir)
