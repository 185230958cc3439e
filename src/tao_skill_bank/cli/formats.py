"""The format of what a command prints: for people, for agents, or JSON. Decided here, for every command alike."""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Annotated, Any

import typer

from tao_skill_bank.core import plain_text, settings
from tao_skill_bank.errors import RequestError


class Format(StrEnum):
    """HUMAN has tables, colours and progress bars on a terminal; AGENT is plain text with one fact on a line."""

    HUMAN = "human"
    AGENT = "agent"
    JSON = "json"


FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="How to print; --json is --format json. Agents get agent by default, others human."),
]
FLAGS = ("--json", "--full", "--show-files")
_current: ContextVar[Format] = ContextVar("format", default=Format.HUMAN)


def is_for_agents() -> bool:
    """Return whether the current command prints for an agent."""
    return _current.get() is Format.AGENT


def wants_document(as_json: bool) -> bool:
    """Return whether a command with a brief answer prints it, as JSON or as text for agents."""
    return as_json or is_for_agents()


@contextmanager
def using(chosen: Format) -> Iterator[None]:
    """Print in a format."""
    token = _current.set(chosen)
    try:
        yield
    finally:
        _current.reset(token)


def of_words(words: Sequence[str]) -> Format:
    """Return the format of a command line that may be wrong otherwise: its errors are printed in it."""
    if "--json" in words:
        return Format.JSON
    named = [value for option, value in itertools.pairwise(words) if option == "--format"]
    named += [word.partition("=")[2] for word in words if word.startswith("--format=")]
    known = {*Format}
    return next((Format(name) for name in (*named, settings.output_format()) if name in known), _detected())


def chosen(option: Format | None, *, as_json: bool) -> Format:
    """Return the format that a command prints in: by its options, else $TAO_FORMAT, else by who calls.

    Raises:
        RequestError: the options contradict each other, or $TAO_FORMAT is not a format.

    """
    if as_json and option not in (None, Format.JSON):
        fix = "Leave one of them out."
        raise RequestError.of("given_twice", f"--json and --format {option} contradict each other.", fix, path="format")
    if option or as_json:
        return option or Format.JSON
    named = settings.output_format()
    if named and named not in {*Format}:
        known, got = ", ".join(Format), plain_text.quoted(named)
        message = f"TAO_FORMAT is '{got}'; expected one of {known}."
        fix = f"Set TAO_FORMAT to one of {known}, or unset it."
        raise RequestError.of("invalid_format", message, fix, path="TAO_FORMAT", got=got, expected=known)
    return Format(named) if named else _detected()


def takes_format(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--format` to a command, which receives `as_json` and prints anything else through `cli.output`."""

    @functools.wraps(function)
    def formatted(*, format_: Format | None = None, **arguments: Any) -> Any:
        how = chosen(format_, as_json=arguments["as_json"])
        with using(how):
            return function(**{**arguments, "as_json": how is Format.JSON})

    own = list(inspect.signature(function).parameters.values())
    added = inspect.Parameter("format_", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=FormatOption)
    formatted.__signature__ = inspect.Signature([*own, added])  # type: ignore[attr-defined]
    formatted.__annotations__ = {**function.__annotations__, "format_": FormatOption}
    return formatted


def print_help_plainly(command: Any) -> None:
    """Let a command and every one below it print its help without boxes."""
    command.rich_markup_mode = None
    for child in getattr(command, "commands", {}).values():
        print_help_plainly(child)


def without_output_options(words: Sequence[str]) -> list[str]:
    """Return the words of a command line without those that only say what is printed."""
    after_format = {index + 1 for index, word in enumerate(words) if word == "--format"}
    return [
        word
        for index, word in enumerate(words)
        if word not in (*FLAGS, "--format") and not word.startswith("--format=") and index not in after_format
    ]


def _detected() -> Format:
    return Format.AGENT if settings.is_agent() else Format.HUMAN
