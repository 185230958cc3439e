"""deft plan, run, status, resume, report: find what a model answers wrongly, get data for that, retrain, compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tao_skill_bank.cli import workflow_commands
from tao_skill_bank.cli.output import JsonFlag, command, document, print_findings, print_json
from tao_skill_bank.cli.request_options import pairs
from tao_skill_bank.cli.workflow_commands import FolderOption, InputOption
from tao_skill_bank.errors import RequestError

if TYPE_CHECKING:
    from tao_skill_bank.deft.inputs import Wanted
    from tao_skill_bank.workflows.sealing import SealedWorkflow

app = typer.Typer(no_args_is_help=True)
KpiOption = Annotated[str | None, typer.Option("--kpi", help="Questions on which gaps are found and choices made.")]
TestOption = Annotated[
    str | None, typer.Option("--test", help="Questions for the final figure; nothing is chosen on it.")
]
OldOption = Annotated[str | None, typer.Option("--train", help="Earlier training data, mixed in against forgetting.")]
PoolOption = Annotated[str | None, typer.Option("--pool", help="Labelled clips from which data are mined.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="Model that the loop begins with.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="ACTION:PATH=VALUE", help="Override of evaluate, train or embed."),
]
PlatformOption = Annotated[
    str | None, typer.Option("--platform", metavar="MAPPING", help="Of every job: {name: slurm, gpus: 8}")
]
SpecOption = Annotated[
    Path | None, typer.Option("--spec", help="specs/workflow.yaml of the public bank; other options win over it.")
]
RunFolder = Annotated[Path | None, typer.Argument(help="Run folder; ./results/deft by default.", show_default=False)]


@app.command("plan")
def plan(
    kpi: KpiOption = None,
    pool: PoolOption = None,
    test: TestOption = None,
    train: OldOption = None,
    model: ModelOption = None,
    sets: SetOption = None,
    platform: PlatformOption = None,
    given: InputOption = None,
    spec: SpecOption = None,
    folder: FolderOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the sealed run to this file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check and seal a DEFT run: launches nothing; writes only --out."""
    wanted = _wanted(spec, {"kpi": kpi, "pool": pool, "test": test, "train": train}, model, sets, platform, given)
    sealed, noted = _sealed(wanted, folder)
    again = command("workflow", "run", "--plan", out) if out else ""
    workflow_commands.report_plan(sealed, noted, out, [again] if again else [], as_json=as_json)


@app.command("run")
def run(
    kpi: KpiOption = None,
    pool: PoolOption = None,
    test: TestOption = None,
    train: OldOption = None,
    model: ModelOption = None,
    sets: SetOption = None,
    platform: PlatformOption = None,
    given: InputOption = None,
    spec: SpecOption = None,
    folder: FolderOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the loop to its end: the better model stays, and the test set gives the final figure."""
    wanted = _wanted(spec, {"kpi": kpi, "pool": pool, "test": test, "train": train}, model, sets, platform, given)
    sealed, noted = _sealed(wanted, folder)
    workflow_commands.run_sealed(sealed, noted, as_json=as_json)


@app.command("status")
def status(folder: RunFolder = None, as_json: JsonFlag = False) -> None:
    """Show every step of a run: its state, its job, and what was spent."""
    workflow_commands.status(_name(folder), None, as_json)


@app.command("resume")
def resume(folder: RunFolder = None, as_json: JsonFlag = False) -> None:
    """Resume a run: running jobs are followed, nothing finished is done again."""
    workflow_commands.resume(_name(folder), None, None, as_json)


@app.command("report")
def report(
    folder: RunFolder = None,
    out: Annotated[Path | None, typer.Option("--out", help="File of the page; report.html in the run folder.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write what changed, by how much and how sure, as one HTML page."""
    from tao_skill_bank.deft import page
    from tao_skill_bank.workflows import standing

    found = standing.of(standing.folder_of(_name(folder)))
    path, sentence = page.write(found, out)
    if as_json:
        print_json(document({"report": str(path), "sentence": sentence}, findings=found.findings))
        return
    print_findings(found.findings)
    typer.echo(sentence)
    typer.echo(str(path))


def _name(folder: Path | None) -> str:
    from tao_skill_bank.deft import WORKFLOW

    return WORKFLOW if folder is None else str(folder)


def _wanted(
    spec: Path | None,
    datasets: dict[str, str | None],
    model: str | None,
    sets: list[str] | None,
    platform: str | None,
    given: list[str] | None,
) -> "Wanted":
    """Return what the command line asks for, over what a file asks for."""
    from tao_skill_bank.core import yaml12
    from tao_skill_bank.deft import public_file
    from tao_skill_bank.deft.inputs import Wanted

    overrides: dict[str, dict[str, Any]] = {}
    for name, value in pairs("--set", tuple(sets or ()), parse=False).items():
        action, separator, path = name.partition(":")
        if not separator or not path:
            fix = f"Write --set ACTION:PATH=VALUE, such as --set train:{name}={value}"
            raise RequestError.of("invalid_option", f"--set {name} names no action.", fix, path="--set")
        overrides.setdefault(action, {})[path] = yaml12.parse_value(value, f"--set {name}")
    values: dict[str, Any] = {name: value for name, value in datasets.items() if value is not None}
    values |= {"platform": platform} if platform is not None else {}
    values |= pairs("--input", tuple(given or ()), parse=False)
    typed = Wanted(model or "", overrides, values)
    return typed if spec is None else public_file.read(spec).merged(typed)


def _sealed(wanted: "Wanted", folder: Path | None) -> tuple["SealedWorkflow", list[Any]]:
    from tao_skill_bank.deft import WORKFLOW, inputs
    from tao_skill_bank.workflows import files, sealing

    sealed = sealing.plan(files.load(WORKFLOW), wanted.values(), folder)
    return sealed, inputs.findings(sealed.inputs)
