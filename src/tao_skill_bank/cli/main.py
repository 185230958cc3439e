"""`tao-skills`: registers the commands and turns errors into messages and exit codes."""

import importlib
import io
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
import typer.core

from tao_skill_bank.cli import door, formats, output
from tao_skill_bank.core.redact import masked_output
from tao_skill_bank.errors import Problem, TaoSkillsError


class MaskedGroup(typer.core.TyperGroup):
    """The commands; whatever they print is masked."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        with masked_output():
            return super().main(*arguments, **options)


app = typer.Typer(
    cls=MaskedGroup,
    name="tao-skills",
    help="Plan, check and run fine-tuning skills for video models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# The base of every usage error: BadParameter -> UsageError -> ClickException. Typer exports only the first, which
# comes from click or from a vendored copy of click, depending on its version.
CommandLineError: Any = typer.BadParameter.__mro__[2]
# module -> {command: function}; imports inside each function keep --help fast.
COMMANDS = {
    "catalog_commands": {"list": "list_skills", "show": "show", "schema": "schema", "template": "template"},
    "launch_commands": {
        "validate": "validate",
        "preflight": "preflight",
        "plan": "plan",
        "run": "run",
        "retry": "retry",
    },
    "job_commands": {
        "status": "status",
        "logs": "logs",
        "watch": "watch",
        "cancel": "cancel",
        "jobs": "jobs",
        "report": "report",
        "diagnose": "diagnose",
    },
    "gaps_command": {"gaps": "gaps"},
    "demo_command": {"demo": "demo"},
    "ui_command": {"ui": "ui"},
    "redact_command": {"redact": "redact"},
}
GROUPS = {
    "data": ("data_commands", "Make sample data, repair annotations, stage and upload data."),
    "label": ("label_commands", "Review labels of clips: export, accept, correct or reject, import."),
    "automl": ("automl_commands", "Search hyperparameters over trainings."),
    "workflow": ("workflow_commands", "Run declared workflows: steps that are approved once and can be resumed."),
    "deft": (
        "deft_commands",
        "Find what a model answers wrongly, get data for that, retrain, and keep the better model.",
    ),
    "models": ("model_commands", "Create and find models."),
    "images": ("image_commands", "Find container images."),
}


def _register() -> None:
    for module_name, commands in COMMANDS.items():
        module = importlib.import_module(f"tao_skill_bank.cli.{module_name}")
        for name, function in commands.items():
            app.command(name)(getattr(module, function))
    groups = {name: importlib.import_module(f"tao_skill_bank.cli.{module}").app for name, (module, _) in GROUPS.items()}
    for name, (_, help_text) in GROUPS.items():
        app.add_typer(groups[name], name=name, help=help_text)
    for command in (command for group in (app, *groups.values()) for command in group.registered_commands):
        assert command.callback is not None
        command.callback = formats.takes_format(command.callback)


_register()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the code that `references/errors.md` documents."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name need not be text
    arguments = list(sys.argv[1:] if argv is None else argv)
    how = formats.of_words(arguments)
    with masked_output(), formats.using(how):
        code = _run(arguments, as_json=how is formats.Format.JSON)
    sys.exit(code)


def _run(arguments: list[str], *, as_json: bool) -> int:
    root: Any = typer.main.get_command(app)
    door.guard(root)
    if formats.is_for_agents():
        formats.print_help_plainly(root)
    try:
        result: Any = root.main(arguments, prog_name="tao-skills", standalone_mode=False)
    except TaoSkillsError as error:
        return output.fail(error, as_json=as_json)
    except CommandLineError as error:
        return _usage_error(error, as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:  # noqa: BLE001 - our bug: report it in the requested format, with its traceback
        traceback.print_exc()
        problem = Problem(
            "internal_error", f"This is a bug of tao-skills: {error!r}", "Report it with the traceback above."
        )
        return output.fail(TaoSkillsError([problem]), as_json=as_json)
    return result if isinstance(result, int) else 0


def _usage_error(error: Any, *, as_json: bool) -> int:
    context = getattr(error, "ctx", None)
    help_command = f"{context.command_path if context else 'tao-skills'} --help"
    problem = Problem("usage", error.format_message(), f"See: {help_command}")
    if as_json:
        output.print_json(output.document({}, code=2, problems=[problem]))
    else:
        output.print_problems([problem])
    return 2


if __name__ == "__main__":
    main()
