"""What every command prints: data on stdout, diagnostics on stderr, one JSON document with --json."""

import json
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tao_skill_bank.cli import formats, overrides
from tao_skill_bank.core import plain_text
from tao_skill_bank.core.redact import masked, plain_output
from tao_skill_bank.errors import Problem, TaoSkillsError

if TYPE_CHECKING:
    from rich.console import Console

    from tao_skill_bank.contracts import Finding

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
FullFlag = Annotated[
    bool,
    typer.Option("--full", help="With --json or for agents: everything, nothing shortened."),
]
SEVERITY_STYLE = {"blocking": "bold red", "warning": "yellow", "not_checked": "magenta", "info": "dim"}
PROGRAM = "tao-skills"
AGENT_PROGRESS_PERCENT = 10


def document(
    payload: dict[str, Any],
    *,
    code: int = 0,
    problems: Sequence[Problem] = (),
    findings: "Sequence[Finding]" = (),
    following: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the JSON document that every command answers with."""
    if findings:
        from tao_skill_bank.contracts import to_json
    return {
        "ok": code == 0,
        "code": code,
        "errors": [problem.to_json() for problem in problems],
        "findings": [to_json(finding) for finding in findings],
        "next": list(following),
        **payload,
    }


def print_json(value: dict[str, Any], *, is_masked: bool = False) -> None:
    """Print one document on stdout, its secrets masked unless they are already."""
    if not is_masked:
        value = masked(json.loads(json.dumps(value, default=str)))
    with plain_output():
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_rows(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on a terminal, tab-separated lines elsewhere; the first one is the header, if there is any."""
    if formats.is_for_agents() or not sys.stdout.isatty():
        for row in [*([header] if any(header) else []), *rows]:
            typer.echo("\t".join(plain_text.on_one_line(str(cell)) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(plain_text.shown(str(cell))) for cell in row))
    Console().print(table)


def print_titled(title: str, text: str) -> None:
    """Print a text unchanged, below a title line."""
    typer.echo(f"\n# --- {title}\n{text}", nl=not text.endswith("\n"))


def print_findings(findings: "Sequence[Finding]") -> None:
    """Print findings on stderr, the blocking ones first."""
    order = list(SEVERITY_STYLE)
    for finding in sorted(findings, key=lambda found: order.index(found.severity)):
        typer.echo(
            f"{_styled(finding.severity, SEVERITY_STYLE[finding.severity])}: {plain_text.shown(finding.message)}",
            err=True,
        )
        if finding.fix and finding.severity != "info":
            typer.echo(f"  fix: {plain_text.shown(finding.fix)}", err=True)
            _print_overrides(finding)


def print_problems(problems: Sequence[Problem]) -> None:
    """Print errors with their fixes on stderr."""
    for problem in problems:
        typer.echo(f"{_styled('error', 'bold red')}: {plain_text.shown(problem.message)}", err=True)
        typer.echo(f"  fix: {plain_text.shown(problem.fix)}", err=True)
        _print_overrides(problem)


def _print_overrides(problem: "Problem | Finding") -> None:
    for line in overrides.lines(problem.fix_set, problem.fix_choices):
        typer.echo(f"  {plain_text.shown(line)}", err=True)


def print_next(following: Sequence[str]) -> None:
    """Print the exact next commands on stderr."""
    for command in following:
        typer.echo(f"next: {command}", err=True)


def progress_console() -> "Console":
    """Return where progress is shown: a live bar on a terminal, plain lines for agents and elsewhere."""
    from rich.console import Console

    return Console(stderr=True, force_terminal=False if formats.is_for_agents() else None)


def progress_percent() -> int:
    """Return the share of a job's steps that lies between two lines of progress at least."""
    return AGENT_PROGRESS_PERCENT if formats.is_for_agents() else 0


def fail(error: TaoSkillsError, *, as_json: bool) -> int:
    """Report an error in the requested format and return its exit code."""
    if as_json:
        print_json(document({}, code=error.exit_code, problems=error.problems, following=error.following))
    else:
        print_problems(error.problems)
        print_next(error.following)
    return error.exit_code


def command(*words: object) -> str:
    """Return a command line quoted for the shell."""
    return shlex.join([PROGRAM, *(str(word) for word in words)])


def _styled(text: str, style: str) -> str:
    if formats.is_for_agents():
        return text
    colours = {"red": typer.colors.RED, "yellow": typer.colors.YELLOW, "magenta": typer.colors.MAGENTA}
    return typer.style(text, fg=colours.get(style.rsplit(maxsplit=1)[-1]), bold="bold" in style, dim="dim" in style)
