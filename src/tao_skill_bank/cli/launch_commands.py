"""validate, preflight, plan, run: the stages of a request."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from tao_skill_bank.cli import formats, next_steps
from tao_skill_bank.cli.output import (
    FullFlag,
    JsonFlag,
    command,
    document,
    print_findings,
    print_next,
    print_rows,
    print_titled,
)
from tao_skill_bank.cli.request_options import (
    Options,
    PlatformSetOption,
    pairs,
    refuse_request,
    takes_request,
    to_request,
)
from tao_skill_bank.cli.waiting import TimeoutOption, require_timeout
from tao_skill_bank.errors import RequestError, TaoSkillsError

if TYPE_CHECKING:
    from tao_skill_bank.contracts import Finding

MAX_WIDTH = 120
WATCHED_SECONDS = 600
JOB_ID = "<job id>"  # in a plan that is not written to a file
OutOption = Annotated[Path | None, typer.Option("--out", help="Write the sealed plan to this file.")]
ShowFilesFlag = Annotated[
    bool,
    typer.Option(
        "--show-files", help="Print every file of the launch; without it, its scripts unless it runs locally."
    ),
]
PlanOption = Annotated[Path | None, typer.Option("--plan", help="Run a sealed plan.")]
DetachFlag = Annotated[bool, typer.Option("--detach", help="Return once the job is submitted.")]
RetriesOption = Annotated[
    int, typer.Option("--retries", help="How often to retry after an infrastructure failure, at most.", min=0, max=10)
]
JobId = Annotated[str, typer.Argument(help="Job id.")]


@takes_request
def validate(options: Options, full: FullFlag = False, as_json: JsonFlag = False) -> None:
    """Check a request against the schema only; reads no data, checks no machine, writes nothing."""
    from tao_skill_bank.cli import brief

    with brief.failures(options, as_json=as_json, full=full):
        _validate(options, full=full, as_json=as_json)


def _validate(options: Options, *, full: bool, as_json: bool) -> None:
    from tao_skill_bank.automl.plan import option_reader
    from tao_skill_bank.bank import catalog
    from tao_skill_bank.cli import brief
    from tao_skill_bank.planning import parents
    from tao_skill_bank.runs import enclosing
    from tao_skill_bank.spec import build

    wanted = to_request(options)
    found = catalog.find(wanted.skill)
    found.action(wanted.action)
    built = build.build(found, wanted, parents.inherit(found, wanted).values)
    option_reader.parse({name: value for name, value in wanted.automl.items() if name != enclosing.SEARCH}, found.info)
    following = [_same_request_as("plan")]
    if formats.wants_document(as_json):
        facts = {"skill": found.name, "action": wanted.action}
        if full:
            brief.print_full(document({**facts, "spec": built.values}, findings=built.findings, following=following))
            return
        facts["changed"] = brief.changed(found.schema(wanted.action)["default"], built.values)
        brief.print_brief(brief.fitted(facts, findings=built.findings, following=following))
        return
    print_findings(built.findings)
    typer.echo(f"{found.name} {wanted.action}: the request is valid.")
    print_next(following)


@takes_request
def preflight(options: Options, full: FullFlag = False, as_json: JsonFlag = False) -> None:
    """Check the data, the credentials and the machine, and report every finding. Read-only."""
    from tao_skill_bank.cli import brief
    from tao_skill_bank.planning import dispatch

    with brief.failures(options, as_json=as_json, full=full):
        sealed = dispatch.plan(to_request(options))
    blocking = [found for found in sealed.findings if found.blocks_run]
    error = _block(blocking)
    code, problems = (error.exit_code, error.problems) if error else (0, ())
    following = next_steps.after_blocked(options, sealed, blocking) if code else [_same_request_as("run")]
    if formats.wants_document(as_json) and full:
        brief.print_full(document({}, code=code, problems=problems, findings=sealed.findings, following=following))
    elif formats.wants_document(as_json):
        findings = [replace(found, severity="blocking") if found.blocks_run else found for found in sealed.findings]
        brief.print_brief(brief.fitted({}, code=code, findings=findings, following=following, unwritten=sealed.job.id))
    else:
        print_findings(sealed.findings)
        typer.echo("preflight passed" if not code else "preflight failed")
        print_next(following)
    raise typer.Exit(code)


@takes_request
def plan(
    options: Options,
    out: OutOption = None,
    show_files: ShowFilesFlag = False,
    full: FullFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Resolve, check and seal a request; show exactly what would run. Launches nothing; writes only --out."""
    from tao_skill_bank.cli import brief
    from tao_skill_bank.planning import dispatch

    with brief.failures(options, as_json=as_json, full=full):
        sealed = dispatch.plan(to_request(options))
    error = _block(sealed.blocking)
    code, problems = (error.exit_code, error.problems) if error else (0, ())
    following = next_steps.after_blocked(options, sealed, sealed.blocking)
    if not code:
        following = [command("run", "--plan", out)] if out else [_same_request_as("run")]
        if out:
            _write_plan(sealed, out)
    elif out:
        typer.echo(f"{out} was not written: a blocked plan is not run.", err=True)
    written = out is not None and not code
    if formats.wants_document(as_json) and full:
        payload = _payload(sealed, written=written)
        brief.print_full(document(payload, code=code, problems=problems, findings=sealed.findings, following=following))
    elif formats.wants_document(as_json):
        shown = brief.of_plan(sealed, code, following, written=written)
        brief.print_brief({**shown, "files": sealed.files} if show_files and as_json else shown)
    else:
        _print_plan(sealed, show_files=show_files, written=bool(out) and not code)
        print_next(following)
    if show_files and formats.is_for_agents():
        for name, text in sealed.files.items():
            print_titled(name, text)
    raise typer.Exit(code)


@takes_request
def run(
    options: Options,
    plan_file: PlanOption = None,
    detach: DetachFlag = False,
    retries: RetriesOption = 0,
    timeout: TimeoutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Plan a request, or take a sealed plan, and run it; follows the job to its end, unless --detach or --timeout."""
    from tao_skill_bank.planning import dispatch, planner

    require_timeout(timeout)
    if detach and timeout is not None:
        fix = "Leave one of them out: --detach returns at once, and `watch` takes a --timeout as well."
        raise RequestError.of("nobody_waits", "--timeout limits how long to wait; --detach does not wait.", fix)

    if detach and retries:
        fix = "Leave one of them out; run it again later with: tao-skills retry JOB"
        raise RequestError.of(
            "nobody_retries", "--retries needs a process that watches the job; --detach does not wait.", fix
        )
    if plan_file:
        refuse_request(options)
        sealed = planner.read(plan_file)
        findings: Sequence[Finding] = dispatch.look_again(sealed)
    else:
        sealed = dispatch.plan(to_request(options))
        findings = sealed.findings
    waits = Waits(detach, retries, timeout)
    _launch(sealed, findings, waits, as_json=as_json)


def retry(job: JobId, option: PlatformSetOption = None, detach: DetachFlag = False, as_json: JsonFlag = False) -> None:
    """Retry a job after an infrastructure failure; a training resumes from its newest checkpoint."""
    from tao_skill_bank.cli.job_end import report_end
    from tao_skill_bank.planning import retries
    from tao_skill_bank.runs import plan_versions

    handle = retries.retry(job, pairs("--option", tuple(option or ()), parse=True))
    if note := retries.avoided(handle):
        typer.echo(note, err=True)
    if detach:
        report_submitted(plan_versions.read_launched(handle.run_directory.plan_file, sealed=True), as_json)
        return
    report_end(handle, as_json)


def run_search(options: Options, *, detach: bool, as_json: bool) -> None:
    """Plan a request and run its search. Raises RequestError when it does not search."""
    from tao_skill_bank.planning import dispatch

    sealed = dispatch.plan(to_request(options))
    if sealed.route.kind != "automl":
        message = f"This request is not a search: {sealed.route.reason}."
        raise RequestError.of("no_search", message, "Run it without automl: tao-skills run ...", path="action")
    _launch(sealed, sealed.findings, Waits(detach), as_json=as_json)


class Waits(NamedTuple):
    """How a command waits for the job that it launches."""

    detach: bool
    max_retries: int = 0
    timeout_seconds: float | None = None


def _launch(sealed: Any, findings: "Sequence[Finding]", waits: Waits, *, as_json: bool) -> None:
    from tao_skill_bank.cli.job_end import report_end
    from tao_skill_bank.planning import dispatch

    if not as_json:
        print_findings([found for found in findings if not found.blocks_run])
    handle = dispatch.run(sealed, findings)
    if waits.detach:
        report_submitted(sealed, as_json)
        return
    report_end(handle, as_json, waits.max_retries, waits.timeout_seconds)


def _payload(sealed: Any, *, written: bool) -> dict[str, Any]:
    from tao_skill_bank.contracts import to_json

    document_of_plan = to_json(sealed)
    job = document_of_plan["job"]
    return {
        **({"job_id": job["id"]} if written else {}),
        "launchable": bool(sealed.argv) and not sealed.blocking,
        "skill": job["skill"],
        "action": job["action"],
        "route": document_of_plan["route"],
        "spec": job["spec"],
        "results_dir": job["results_dir"],
        "resources": job["resources"],
        "platform": job["platform"],
        "study": document_of_plan["study"],
        "argv": document_of_plan["argv"],
        "files": document_of_plan["files"],
        "sha256": sealed.sha256,
    }


def _print_plan(sealed: Any, *, show_files: bool, written: bool) -> None:
    """Print a plan; its job id only where it is written to a file, since `run` gives another plan another id."""
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.data import kinds

    if not written:
        sealed = _with_other_id(sealed, to_json(sealed))
    job, resources = sealed.job, sealed.job.resources
    shown = _shown_files(sealed, all_of_them=show_files)
    rows = [
        *([("job", job.id)] if written else []),
        ("route", f"{sealed.route.kind} -> {sealed.route.skill}"),
        ("why", sealed.route.reason),
        ("model", job.workload.model),
        *(kinds.row(given, job.module.rpartition(".")[0]) for given in job.workload.inputs),
        ("processes", f"{resources.nodes} node(s) x {resources.processes_per_node} on {resources.device}"),
        *([("image", job.image)] if job.image else []),
        ("results", job.results_dir),
        *([] if shown else [("command", " ".join(sealed.argv))]),
        ("files", ", ".join(sealed.files)),
        ("sha256", sealed.sha256),
    ]
    print_rows(("", ""), rows)
    if sealed.study is not None:
        from tao_skill_bank.automl.plan import review

        for table in review.tables(sealed):
            print_rows(*table)
    if shown:
        print_titled("command", _on_lines(sealed.argv))
    for name, text in shown.items():
        print_titled(name, text)
    print_findings(sealed.findings)
    typer.echo(_closing(len(sealed.blocking)), err=True)


def _closing(num_blocking: int) -> str:
    """Return the last line of a plan; what it shows of a blocked one is what would be submitted."""
    if not num_blocking:
        return "planned: nothing was launched"
    return f"not launchable: {num_blocking} finding{'s block' if num_blocking > 1 else ' blocks'}; nothing was launched"


def _with_other_id(sealed: Any, document_of_plan: dict[str, Any]) -> Any:
    """Return a plan for display that names no job: a placeholder stands for the id in every folder and command."""
    from tao_skill_bank.contracts import Plan, from_json

    text = json.dumps(document_of_plan).replace(sealed.job.id, JOB_ID)
    return from_json(Plan, json.loads(text), "the plan")


def _shown_files(sealed: Any, *, all_of_them: bool) -> dict[str, str]:
    """Return the files that a plan shows in full: those sent to an engine other than this machine's shell."""
    from tao_skill_bank.contracts import PlatformRequest

    configs = Path(sealed.job.config_file).parent
    is_sent = sealed.launched_on != PlatformRequest().name
    return {
        name: text for name, text in sealed.files.items() if all_of_them or (is_sent and Path(name).parent != configs)
    }


def _on_lines(argv: Sequence[str]) -> str:
    """Return a command line for the shell, one option per line when it is long."""
    text = shlex.join(argv)
    if len(text) <= MAX_WIDTH:
        return text
    parts = [""]
    for word in argv:
        if word.startswith("--"):
            parts.append("")
        parts[-1] += f" {shlex.quote(word)}" if parts[-1] else shlex.quote(word)
    return " \\\n  ".join(parts)


def _write_plan(sealed: Any, out: Path) -> None:
    from tao_skill_bank.authoring.generated_files import to_text
    from tao_skill_bank.contracts import to_json

    try:
        out.write_text(to_text(to_json(sealed)), encoding="utf-8")
    except OSError as error:
        message = f"The plan cannot be written to {out}: {error.strerror}."
        raise RequestError.of(
            "plan_not_written", message, "Give a path in an existing, writable folder.", path=str(out)
        ) from None


def report_submitted(sealed: Any, as_json: bool) -> None:
    """Print the id of a job that was just launched, and what to do next."""
    from tao_skill_bank.cli import brief

    job = sealed.job
    following = [
        command("watch", job.id, "--timeout", WATCHED_SECONDS),
        command("logs", job.id, "--follow"),
        command("status", job.id),
        command("cancel", job.id),
    ]
    if as_json:
        payload = {"job_id": job.id, "results_dir": job.results_dir, "sha256": sealed.sha256}
        warnings = [found for found in sealed.findings if found.severity != "info"]  # the plan has them all
        brief.print_brief(brief.fitted(payload, findings=warnings, following=following))
        return
    typer.echo(job.id)
    print_next(following)


def _block(blocking: Any) -> TaoSkillsError | None:
    """Return the error for the blocking findings without raising it: the findings are shown as well."""
    from tao_skill_bank.planning import gate

    try:
        gate.raise_if_blocked(blocking)
    except TaoSkillsError as error:
        return error
    return None


def _same_request_as(verb: str) -> str:
    """Return this command line with another verb and without its output options."""
    return command(verb, *formats.without_output_options(sys.argv[2:]))
