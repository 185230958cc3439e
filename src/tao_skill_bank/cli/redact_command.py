"""redact: text without its credentials, or a check that files hold none."""

import sys
from collections.abc import Iterator
from itertools import chain, tee
from pathlib import Path
from typing import Annotated

import typer

from tao_skill_bank.cli.output import JsonFlag, document, print_json
from tao_skill_bank.errors import BlockedError, Problem, RequestError, UnknownNameError

HEAD_BYTES = 8192
PIECE_CHARACTERS = 256 * 1024
Files = Annotated[list[Path] | None, typer.Argument(help="Text files, or folders of them; standard input by default.")]
Check = Annotated[bool, typer.Option("--check", help="Print nothing; exit 2 and name every line with a credential.")]


def redact(files: Files = None, check: Check = False, as_json: JsonFlag = False) -> None:
    """Print text with its credentials masked: what looks like one, and the values of secret variables set here."""
    from tao_skill_bank.core.masked_log import masked_log
    from tao_skill_bank.core.redact import plain_output

    texts, unread, num_binary = _texts(files or [])
    if check:
        num_lines = _checked(texts, unread)
        if as_json:
            print_json(document({"lines": num_lines, "binary_files": num_binary}))
        else:
            besides = f" {num_binary} files are not text and were skipped." if num_binary else ""
            typer.echo(f"{num_lines} lines hold no credential.{besides}")
        return
    if unread:
        raise BlockedError(unread)
    masked = chain.from_iterable(masked_log(pieces) for _, pieces in texts)
    if as_json:
        print_json(document({"text": "".join(masked).removesuffix("\n")}), is_masked=True)
        return
    with plain_output():  # it is masked already
        for piece in masked:
            typer.echo(piece, nl=False)


def _checked(texts: list[tuple[str, Iterator[str]]], unread: list[Problem]) -> int:
    """Return the number of lines. Raises RequestError for each with a credential, BlockedError for what is unread."""
    from tao_skill_bank.core.masked_log import masked_log
    from tao_skill_bank.platforms.run_files import lines_of

    found: list[Problem] = []
    num_lines = 0
    for name, pieces in texts:
        read, given = tee(pieces)
        for number, (line, safe) in enumerate(zip(lines_of(read), lines_of(masked_log(given)), strict=False), start=1):
            num_lines += 1
            found += [_found(f"{name}:{number}")] if safe != line else []
    if found:
        raise RequestError([*found, *unread])
    if unread:
        raise BlockedError(unread)
    return num_lines


def _found(where: str) -> Problem:
    message = f"{where} holds what looks like a credential."
    fix = "Remove it, revoke it where it was issued, and pass it as an environment variable or a Secret."
    return Problem("credential_found", message, fix, where)


def _texts(files: list[Path]) -> tuple[list[tuple[str, Iterator[str]]], list[Problem], int]:
    """Return the name and the pieces of each text, what cannot be read, and how many files in folders are not text.

    Raises:
        UnknownNameError: a path does not exist.

    """
    if not files:
        return [("standard input", iter(sys.stdin))], [], 0
    texts: list[tuple[str, Iterator[str]]] = []
    unread: list[Problem] = []
    num_binary = 0
    for path in files:
        if not path.exists():
            raise UnknownNameError.of(
                "unknown_file", f"File {path} does not exist.", "Name an existing file.", path=str(path)
            )
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_dir():
                continue
            why = _why_not_read(file)
            if not why:
                texts.append((str(file), _pieces(file)))
            elif why is BINARY and file != path:
                num_binary += 1
            else:
                fix = "Name text files only, or convert it to UTF-8; unpack compressed files first."
                unread.append(Problem("not_read", f"{file} was not read: {why}.", fix, str(file)))
    return texts, unread, num_binary


BINARY = "it is not UTF-8"


def _why_not_read(path: Path) -> str:
    if not path.is_file():
        return "it is not a regular file"
    try:
        with path.open("rb") as file:
            return BINARY if b"\0" in file.read(HEAD_BYTES) else ""
    except OSError as error:
        return str(error.strerror or error)


def _pieces(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        while piece := file.read(PIECE_CHARACTERS):
            yield piece
