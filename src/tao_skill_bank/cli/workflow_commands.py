"""workflow list, show, plan, run, status, resume, report: declared steps that are approved once and can be resumed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tao_skill_bank.cli.output import (
    JsonFlag,
    command,
    document,
    print_findings,
    print_json,
    print_next,
    print_rows,
    progress_console,
    progress_percent,
)
from tao_skill_bank.cli.request_options import pairs
from tao_skill_bank.errors import RequestError

if TYPE_CHECKING:
    from tao_skill_bank.contracts import Finding
    from tao_skill_bank.workflows.job_steps import Observer
    from tao_skill_bank.workflows.running import Finished
    from tao_skill_bank.workflows.sealing import SealedWorkflow
    from tao_skill_bank.workflows.standing import Standing

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Workflow: a name of `workflow list`, or the path of a file.")]
Target = Annotated[str, typer.Argument(help="Run folder, or the workflow whose run is in its default folder.")]
InputOption = Annotated[list[str] | None, typer.Option("--input", metavar="NAME=VALUE", help="Value of an input.")]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Folder of the run; ./results/<workflow> by default.")
]


@app.command("list")
def list_workflows(as_json: JsonFlag = False) -> None:
    """List the workflows of the bank."""
    from tao_skill_bank.workflows import files

    found = {name: files.load(name) for name in files.names()}
    rows = [(name, each.workflow.description, str(each.path)) for name, each in found.items()]
    following = [command("workflow", "show", name) for name in found]
    if as_json:
        entries = [{"name": name, "description": text, "path": path} for name, text, path in rows]
        print_json(document({"workflows": entries}, following=following))
        return
    print_rows(("workflow", "description", "file"), rows)
    print_next(following)


@app.command("show")
def show(name: Name, as_json: JsonFlag = False) -> None:
    """Show the inputs, limits and steps of a workflow."""
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.workflows import checks, conditions, files, inputs

    found = files.load(name)
    workflow = found.workflow
    needed = [f"{each}=VALUE" for each, field in workflow.inputs.items() if field.required]
    following = [command("workflow", "plan", name, *(word for each in needed for word in ("--input", each)))]
    if as_json:
        payload = {"name": workflow.name, "path": str(found.path), "workflow": to_json(workflow)}
        print_json(document(payload, following=following))
        return
    typer.echo(f"{workflow.name}: {workflow.description}\n")
    fields = [
        (each, inputs.expected(field), "required" if field.required else field.default, field.description)
        for each, field in workflow.inputs.items()
    ]
    print_rows(("input", "is", "default", "description"), fields)
    steps = [
        (each.step.name, each.loop, _what(each.step), each.step.parent or "", conditions.text(each.step.when))
        for each in checks.placed(workflow)
    ]
    print_rows(("step", "of loop", "does", "parent", "when"), steps)
    print_rows(("limit", "is"), [(key, value) for key, value in to_json(workflow.limits).items() if value])
    print_next(following)


@app.command("plan")
def plan(
    name: Name,
    given: InputOption = None,
    folder: FolderOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the sealed workflow to this file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check and seal a workflow: plan every step that can be planned now. Launches nothing; writes only --out."""
    from tao_skill_bank.workflows import files, sealing

    sealed = sealing.plan(files.load(name), _inputs(given), folder)
    following = command("workflow", "run", "--plan", out) if out else _run_of(name, given, folder)
    report_plan(sealed, [], out, [following], as_json=as_json)


def report_plan(
    sealed: "SealedWorkflow", noted: list["Finding"], out: Path | None, following: list[str], *, as_json: bool
) -> None:
    """Write a sealed workflow to `out`, print it with more findings, and exit; what follows only if nothing blocks."""
    from tao_skill_bank.workflows import sealing

    blocked = _block(sealed)
    code, problems = (blocked.exit_code, blocked.problems) if blocked else (0, ())
    if out and not code:
        _write(sealed, out)
    following = [] if code else following
    findings = [*noted, *sealed.findings, *sealing.later(sealed)]
    if as_json:
        print_json(document(_planned(sealed), code=code, problems=problems, findings=findings, following=following))
    else:
        print_rows(("step", "is", "why"), [(each.step, each.state, each.why) for each in sealed.steps])
        print_rows(("", ""), [("folder", sealed.folder), ("sha256", sealed.sha256)])
        print_findings(findings)
        typer.echo("planned: nothing was launched" if not code else "blocked: nothing was launched", err=True)
        print_next(following)
    raise typer.Exit(code)


@app.command("run")
def run(
    name: Annotated[str | None, typer.Argument(help="Workflow: a name, or the path of a file.")] = None,
    given: InputOption = None,
    folder: FolderOption = None,
    plan_file: Annotated[Path | None, typer.Option("--plan", help="Run a sealed workflow.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Plan a workflow, or take a sealed one, and run it to its end."""
    from tao_skill_bank.workflows import files, sealing

    if plan_file is not None:
        if name is not None or given or folder is not None:
            message = "--plan runs a sealed workflow unchanged, in the folder for which it was planned."
            fix = "Leave the other arguments out, or leave --plan out to plan again."
            raise RequestError.of("plan_and_request", message, fix, path="--plan")
        sealed = sealing.read(plan_file)
    elif name is None:
        fix = f"Write for example: {command('workflow', 'run', 'NAME', '--input', 'data=FOLDER')}"
        raise RequestError.of("incomplete_request", "Give the name of a workflow, or --plan FILE.", fix)
    else:
        sealed = sealing.plan(files.load(name), _inputs(given), folder)
    run_sealed(sealed, [], as_json=as_json)


def run_sealed(sealed: "SealedWorkflow", noted: list["Finding"], *, as_json: bool) -> None:
    """Run a sealed workflow to its end, after its findings and those that are noted."""
    from tao_skill_bank.workflows import running

    if not as_json:
        print_findings([*noted, *(found for found in sealed.findings if not found.blocks_run)])
    _report_end(running.start(sealed, _observer()), as_json)


@app.command("status")
def status(name: Target, folder: FolderOption = None, as_json: JsonFlag = False) -> None:
    """Show how far a run is: the state of every step, its job, and what was spent."""
    from tao_skill_bank.workflows import standing

    found = standing.of(standing.folder_of(name, folder))
    if as_json:
        print_json(document(_payload(found), findings=found.findings, following=found.following))
        return
    print_rows(("step", "iteration", "state", "s", "job", "outcome"), _rows(found))
    typer.echo(f"{found.folder}\t{found.state}\t{found.summary}")
    print_findings(found.findings)
    print_next(found.following)


@app.command("resume")
def resume(name: Target, given: InputOption = None, folder: FolderOption = None, as_json: JsonFlag = False) -> None:
    """Resume a run: running jobs are followed, nothing finished is done again, a failed step is tried again."""
    from tao_skill_bank.workflows import running, standing

    place = standing.folder_of(name, folder)
    standing.require_same(name, place, _inputs(given))
    print_findings(standing.of(place).findings)
    _report_end(running.resume(place, _observer()), as_json)


@app.command("report")
def report(
    name: Target,
    folder: FolderOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="File of the page; report.html in the run folder.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the steps of a run and the results of its jobs as one HTML page."""
    from tao_skill_bank.workflows import page, standing

    found = standing.of(standing.folder_of(name, folder))
    path = page.write(found, out)
    if as_json:
        payload = {"report": str(path), "sentence": page.opening(found).sentence}
        print_json(document(payload, findings=found.findings, following=found.following))
        return
    print_findings(found.findings)
    typer.echo(str(path))


def _inputs(given: list[str] | None) -> dict[str, Any]:
    return pairs("--input", tuple(given or ()), parse=False)


def _observer() -> "Observer":
    from tao_skill_bank.jobs.follow import follow
    from tao_skill_bank.workflows.job_steps import Observer

    console = progress_console()

    def say(line: str) -> None:
        typer.echo(line, err=True)

    return Observer(
        watch=lambda handle, seconds: follow(handle, console, progress_percent(), seconds),
        planned=lambda step, sealed: say(f"{step}: {sealed.route.kind} route, {sealed.route.reason}"),
        done=lambda event: say(f"{event.step}: {event.status}" + (f", {event.summary}" if event.summary else "")),
        say=say,
    )


def _report_end(finished: "Finished", as_json: bool) -> None:
    from tao_skill_bank.workflows import standing

    found = standing.of(finished.folder)
    if as_json:
        print_json(document(_payload(found), findings=found.findings, following=found.following))
        return
    typer.echo(f"{found.folder}\t{found.state}\t{found.summary}")
    print_next(found.following)


def _payload(found: "Standing") -> dict[str, Any]:
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.workflows import standing

    steps = [{**to_json(each), "job_state": standing.job_state(each)} for each in found.steps]
    return {
        "workflow": found.sealed.name,
        "folder": str(found.folder),
        "state": found.state,
        "summary": found.summary,
        "inputs": found.sealed.inputs,
        "limits": to_json(found.sealed.limits),
        "spent": {"gpu_hours": round(found.spent.gpu_hours, 4), "disk_gib": round(found.spent.disk_gib, 4)}
        | {"rows": found.spent.rows},
        "steps": steps,
        "waiting": list(found.waiting),
        "sha256": found.sealed.sha256,
    }


def _rows(found: "Standing") -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        (each.step, each.iteration or "", each.status, each.seconds or "", each.job or "", each.summary)
        for each in found.steps
    ]
    return [*rows, *((name, "", "waiting", "", "", "") for name in found.waiting)]


def _planned(sealed: "SealedWorkflow") -> dict[str, Any]:
    from tao_skill_bank.contracts import to_json
    from tao_skill_bank.workflows import limits

    steps = [
        {
            "step": each.step,
            "state": each.state,
            "why": each.why,
            "sha256": each.plan.sha256 if each.plan else None,
            "hours": limits.of_plan(each.step, each.plan).hours if each.plan else None,
        }
        for each in sealed.steps
    ]
    facts = {"workflow": sealed.name, "folder": sealed.folder, "inputs": sealed.inputs}
    return {**facts, "limits": to_json(sealed.limits), "steps": steps, "sha256": sealed.sha256}


def _block(sealed: "SealedWorkflow") -> Any:
    from tao_skill_bank.errors import TaoSkillsError
    from tao_skill_bank.planning import gate

    try:
        gate.raise_if_blocked(sealed.blocking)
    except TaoSkillsError as error:
        return error
    return None


def _write(sealed: "SealedWorkflow", out: Path) -> None:
    from tao_skill_bank.workflows import sealing

    try:
        out.write_text(sealing.text(sealed), encoding="utf-8")
    except OSError as error:
        message = f"The sealed workflow cannot be written to {out}: {error.strerror}."
        fix = "Give a path in an existing, writable folder."
        raise RequestError.of("plan_not_written", message, fix, path=str(out)) from None


def _run_of(name: str, given: list[str] | None, folder: Path | None) -> str:
    words = [word for each in given or () for word in ("--input", each)]
    return command("workflow", "run", name, *words, *(["--folder", folder] if folder else []))


def _what(step: Any) -> str:
    if step.request is not None:
        return f"{step.request.get('skill')} {step.request.get('action')}"
    return step.kind if step.stage is None else f"stage {step.stage}"
