"""redact: text without its credentials, or a check that files hold none."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tao_skill_bank.cli.output import JsonFlag, document, print_json
from tao_skill_bank.errors import RequestError, UnknownNameError

if TYPE_CHECKING:
    from tao_skill_bank.errors import Problem

Files = Annotated[list[Path] | None, typer.Argument(help="Text files, or folders of them; standard input by default.")]
Check = Annotated[bool, typer.Option("--check", help="Print nothing; exit 2 and name every line with a credential.")]


def redact(files: Files = None, check: Check = False, as_json: JsonFlag = False) -> None:
    """Print text with its credentials masked: what looks like one, and the values of secret variables set here."""
    from tao_skill_bank.redact import masker

    masked = masker()
    problems: list[Problem] = []
    shown: list[str] = []
    num_lines = 0
    for where, line in _lines(files or []):
        num_lines += 1
        safe = masked(line)
        if check:
            problems += [_found(where)] if safe != line else []
        elif as_json:
            shown.append(safe)
        else:
            typer.echo(safe)
    if problems:
        raise RequestError(problems)
    if as_json:
        print_json(document({"lines": num_lines} if check else {"text": "\n".join(shown)}))
    elif check:
        typer.echo(f"{num_lines} lines hold no credential.")


def _found(where: str) -> "Problem":
    from tao_skill_bank.errors import Problem

    message = f"{where} holds what looks like a credential."
    fix = "Remove it, revoke it where it was issued, and pass it as an environment variable or a Secret."
    return Problem("credential_found", message, fix, where)


def _lines(files: list[Path]) -> Iterator[tuple[str, str]]:
    """Yield FILE:NUMBER and the line. Raises UnknownNameError for a path that is not there."""
    if not files:
        yield from _numbered("standard input", sys.stdin)
    for path in files:
        if not path.exists():
            raise UnknownNameError.of(
                "unknown_file", f"There is no file {path}.", "Name one that exists.", path=str(path)
            )
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in (each for each in inside if each.is_file() and not _is_binary(each)):
            with file.open(encoding="utf-8", errors="replace") as opened:
                yield from _numbered(str(file), opened)


def _numbered(name: str, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, start=1):
        yield f"{name}:{number}", line.rstrip("\r\n")


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" in file.read(8192)
