"""The command line options that make up a request."""

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tao_skill_bank.cli.output import command
from tao_skill_bank.cli.overrides import CommandLine
from tao_skill_bank.core import nested
from tao_skill_bank.errors import RequestError, TaoSkillsError

SkillArgument = Annotated[str | None, typer.Argument(help="Skill name or alias.", show_default=False)]
ActionArgument = Annotated[str | None, typer.Argument(help="Action of the skill.", show_default=False)]
RequestOption = Annotated[Path | None, typer.Option("--request", help="Request file (YAML or JSON).")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Override one spec key; the value is YAML: null deletes the key, nothing is an empty text.",
    ),
]
TrainOption = Annotated[str | None, typer.Option("--train", help="Training dataset folder.")]
EvalOption = Annotated[str | None, typer.Option("--eval", help="Evaluation dataset folder.")]
DatasetOption = Annotated[
    list[str] | None,
    typer.Option("--dataset", metavar="ROLE=FOLDER", help="Dataset of another role, such as calibration."),
]
SayOption = Annotated[str, typer.Option("--say", help="The request in the user's words; may turn AutoML off.")]
PolicyOption = Annotated[str | None, typer.Option("--automl-policy", help="auto or off; wins over --say.")]
AutomlOption = Annotated[
    list[str] | None,
    typer.Option("--automl", metavar="NAME=VALUE", help="Search option, such as algorithm=asha or max_trials=20."),
]
PlatformOption = Annotated[str | None, typer.Option("--platform", help="Where to run; local by default.")]
PlatformSetOption = Annotated[
    list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="Platform option, such as device=cpu.")
]
GpusOption = Annotated[int | None, typer.Option("--gpus", help="Processes per node.")]
NodesOption = Annotated[int | None, typer.Option("--nodes", help="Nodes.")]
ResultsOption = Annotated[
    str | None, typer.Option("--results-dir", help="Run directory; ./results/<job id> by default.")
]
ParentOption = Annotated[str | None, typer.Option("--parent", help="Job whose checkpoint this one starts from.")]
CheckpointOption = Annotated[
    str | None, typer.Option("--checkpoint", help="Checkpoint of the parent, such as epoch_4.")
]
BaseFlag = Annotated[
    bool, typer.Option("--base", help="Measure the model that the parent's checkpoint was trained from, likewise.")
]
ImageOption = Annotated[str | None, typer.Option("--image", help="Container image, where the platform uses one.")]


def _spelling(
    skill: SkillArgument = None,
    action: ActionArgument = None,
    request: RequestOption = None,
    sets: SetOption = None,
    train: TrainOption = None,
    eval_: EvalOption = None,
    dataset: DatasetOption = None,
    say: SayOption = "",
    automl_policy: PolicyOption = None,
    automl: AutomlOption = None,
    platform: PlatformOption = None,
    option: PlatformSetOption = None,
    gpus: GpusOption = None,
    nodes: NodesOption = None,
    results_dir: ResultsOption = None,
    parent: ParentOption = None,
    checkpoint: CheckpointOption = None,
    base: BaseFlag = False,
    image: ImageOption = None,
) -> None:
    """Declare, as a signature, the options that make up a request."""


def takes_request(function: Callable[..., None]) -> Callable[..., None]:
    """Add the request options to a command, which receives them as its first argument."""
    spelled = inspect.signature(_spelling).parameters
    own = list(inspect.signature(function).parameters.values())[1:]

    @functools.wraps(function)
    def command_function(**values: Any) -> None:
        options = gather({name: values.pop(name) for name in spelled})
        try:
            function(options, **values)
        except TaoSkillsError as error:
            error.following = command_line(options).corrected(error.problems)
            raise

    parameters = [*spelled.values(), *own]
    command_function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command_function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command_function


@dataclass(frozen=True)
class Options:
    """A request as its command line gave it."""

    skill: str | None
    action: str | None
    request_file: Path | None = None
    sets: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    platform_sets: tuple[str, ...] = ()
    automl_sets: tuple[str, ...] = ()
    fields: tuple[tuple[str, Any], ...] = ()
    platform_fields: tuple[tuple[str, Any], ...] = ()


def gather(values: dict[str, Any]) -> Options:
    """Return the options of a command from its arguments by name."""
    datasets = list(values.get("dataset") or ())
    own_roles = (("train", "train"), ("eval", "eval_"))
    datasets += [f"{role}={values[name]}" for role, name in own_roles if values.get(name) is not None]
    # nothing to say by default, and no flag; any other option is meant
    given = {**values, "say": values.get("say") or None, "base": values.get("base") or None}
    names = (
        ("prompt", "say"),
        ("automl_policy", "automl_policy"),
        ("results_dir", "results_dir"),
        ("parent_job_id", "parent"),
        ("checkpoint", "checkpoint"),
        ("base", "base"),
        ("image", "image"),
    )
    return Options(
        skill=values.get("skill"),
        action=values.get("action"),
        request_file=values.get("request"),
        sets=tuple(values.get("sets") or ()),
        datasets=tuple(datasets),
        platform_sets=tuple(values.get("option") or ()),
        automl_sets=tuple(values.get("automl") or ()),
        fields=tuple((name, given[option]) for name, option in names if given.get(option) is not None),
        platform_fields=tuple(
            (name, values[option])
            for name, option in (("name", "platform"), ("gpus", "gpus"), ("nodes", "nodes"))
            if values.get(option) is not None
        ),
    )


def refuse_request(options: Options) -> None:
    """Refuse request options together with a sealed plan, which has its own. Raises RequestError."""
    if options != Options(None, None):
        message = "--plan runs a sealed plan unchanged; it cannot be combined with request options."
        fix = "Drop the other options, or drop --plan to plan the request again."
        raise RequestError.of("plan_and_request", message, fix, path="--plan")


def to_request(options: Options) -> Any:
    """Return the Request of a command line; options win over the request file. Raises RequestError."""
    from tao_skill_bank.contracts import Request, from_json
    from tao_skill_bank.core import yaml12
    from tao_skill_bank.spec import door

    document: dict[str, Any] = {}
    if options.request_file:
        document = yaml12.read(options.request_file)
        if not isinstance(document, dict):
            message = f"{options.request_file} does not contain a mapping."
            raise RequestError.of("invalid_request", message, "Write a request; see: tao-skills schema request")
    elif options.skill is None or options.action is None:
        fix = f"Write for example: {command('plan', 'tao-finetune-cosmos-reason', 'train', '--train', 'FOLDER')}"
        raise RequestError.of("incomplete_request", "Give SKILL and ACTION, or --request FILE.", fix)
    source = str(options.request_file or "the command line")
    named = {"skill": options.skill, "action": options.action}
    document |= {key: value for key, value in named.items() if value is not None}
    document |= dict(options.fields)
    platform = document.get("platform") or {}
    platform = {"name": platform} if isinstance(platform, str) else platform
    from_json(Request, {**named, **document, "platform": platform}, source)
    document["overrides"] = _overrides(document, options.sets)
    document["datasets"] = {**(document.get("datasets") or {}), **pairs("--dataset", options.datasets, parse=False)}
    document["automl"] = {**(document.get("automl") or {}), **pairs("--automl", options.automl_sets, parse=True)}
    choices = {**platform.get("options", {}), **pairs("--option", options.platform_sets, parse=True)}
    document["platform"] = {**platform, **dict(options.platform_fields), "options": choices}
    request = from_json(Request, document, source)
    door.require_plain(request)
    return request if options.request_file is None else _with_paths_from(request, options.request_file.parent)


def command_line(options: Options, words: Sequence[str] | None = None) -> CommandLine:
    """Return the command line that gave a request, or one of other words."""
    given = sys.argv[1:] if words is None else words
    return CommandLine(given, options.sets, lambda sets: to_request(replace(options, sets=sets)))


def _overrides(document: dict[str, Any], sets: tuple[str, ...]) -> dict[str, Any]:
    """Return the overrides of a request file with those of the command line, of which a null may take one back."""
    given: dict[str, Any] = document.get("overrides") or {}
    for text in sets:
        added = pairs("--set", (text,), parse=True)
        ((name, value),) = added.items()
        if value is None and any(f"{path}.".startswith(f"{name}.") for path, _ in nested.flatten(given)):
            from tao_skill_bank.bank import catalog
            from tao_skill_bank.spec.overrides import merged

            given = merged(given, added, catalog.find(document["skill"]).schema(document["action"]))
        else:
            given = {path: value for path, value in given.items() if path not in added} | added
    return given


def _with_paths_from(request: Any, folder: Path) -> Any:
    """Resolve relative dataset roots of a request file against its folder, unless they exist from here."""

    def resolve(name: Any) -> Any:
        candidate = folder / name if isinstance(name, str) and "://" not in name else None
        return str(candidate) if candidate and not Path(name).exists() and candidate.exists() else name

    return replace(request, datasets={role: resolve(value) for role, value in request.datasets.items()})


def pairs(option: str, texts: tuple[str, ...], *, parse: bool) -> dict[str, Any]:
    from tao_skill_bank.core import yaml12

    pairs: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            fix = f"Write {option} NAME=VALUE."
            raise RequestError.of("invalid_option", f"{option} '{text}' has no name and value.", fix, path=option)
        pairs[name] = yaml12.parse_value(value, f"{option} {name}") if parse else value
    return pairs
