"""The door that every request passes: its names, paths and options are plain lines, and its prose can be written.

What a parameter's schema declares as `free_text` is prose, and so is the prompt; anything else becomes part of a
script, a directive or a file's name, where a control character would have a meaning.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.contracts import Request, to_json
from tao_skill_bank.core import plain_text
from tao_skill_bank.errors import Problem, RequestError

PROSE = ("prompt", "overrides")  # `value_problems` knows which of the overrides are names
PATHS = ("datasets", "results_dir", "parent_job_id", "checkpoint")


def require_plain(request: Request) -> None:
    """Refuse a request with a text that could be mistaken for something else. Raises RequestError with all of them."""
    document = to_json(request)
    faults = dict.fromkeys(PROSE, plain_text.fault_of_prose) | dict.fromkeys(PATHS, plain_text.fault_of_path)
    if problems := list(_problems(document, lambda path: faults.get(path.partition(".")[0], plain_text.fault_of_line))):
        raise RequestError(problems)


def value_problems(schema: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the texts of a spec that are neither plain lines nor prose by their schema."""
    prose = {path for path, leaf in schemas.leaves(schema) if leaf.get("free_text")}
    yield from _problems(values, lambda path: plain_text.fault_of_prose if path in prose else plain_text.fault_of_line)


def _problems(value: Any, fault_at: Callable[[str], Callable[[str], str]], path: str = "") -> Iterator[Problem]:
    """Yield a problem for every text of a nested value that is refused where it is, and for keys that are not names."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _problem(str(key), plain_text.fault_of_line, path, "A name in " + (path or "the request"))
            yield from _problems(child, fault_at, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from _problems(child, fault_at, f"{path}.{index}")
    elif isinstance(value, str):
        yield from _problem(value, fault_at(path), path, path)


def _problem(text: str, fault_of: Callable[[str], str], path: str, what: str) -> Iterator[Problem]:
    if fault := fault_of(text):
        where, got = plain_text.quoted(path), plain_text.quoted(text)
        message = f"{plain_text.quoted(what)} {fault}: '{got}'."
        yield Problem("hostile_text", message, f"Correct {where or 'the request'}.", where, got)
