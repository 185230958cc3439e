"""Documents as text for agents: one fact on a line, no word twice."""

from collections.abc import Iterator, Mapping
from typing import Any

from tao_skill_bank.cli import overrides, shortening
from tao_skill_bank.core import nested, plain_text

LONG_GROUPS = ("changed", "spec", "keys")


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield a document as text, one fact on a line; what is empty says nothing."""
    return map(plain_text.on_one_line, _facts(answer))


def _facts(answer: Mapping[str, Any]) -> Iterator[str]:
    for name, value in answer.items():
        if name in ("errors", "findings"):
            yield from (line for each in value for line in _lines_of_finding(each))
        elif isinstance(value, Mapping):
            yield from _lines_of_group(name, value)
        elif isinstance(value, list):
            yield from (f"{name}: {_said(each)}" for each in value)
        elif value is not None and name != "ok":
            yield f"{name}: {_said(value)}"


def _lines_of_finding(each: Mapping[str, Any]) -> Iterator[str]:
    where = f" {each['path']}" if each["path"] and each["path"] not in each["message"] else ""
    fix = f" fix: {each['fix']}" if each["fix"] else ""
    yield f"{each.get('severity', 'error')} {each['code']}{where}: {each['message']}{fix}"
    yield from overrides.lines(each.get("fix_set", {}), each.get("fix_choices", ()))


def _lines_of_group(name: str, group: Mapping[str, Any]) -> Iterator[str]:
    """Yield short facts of a group on one line; a spec's keys on lines of their own, of files only the names."""
    if name == "files":
        yield f"files: {', '.join(group)}"
        return
    if name.rpartition(".")[2] in LONG_GROUPS:
        yield f"{name}:"
        for key, value in nested.flatten(group) if name == "spec" else group.items():
            yield f" {key}={_said(value)}"
        return
    facts = {key: value for key, value in group.items() if value is not None and not isinstance(value, Mapping)}
    yield f"{name}: " + "; ".join(f"{key}={_said(value)}" for key, value in facts.items())
    for key, value in group.items():
        if isinstance(value, Mapping) and value:
            yield from _lines_of_group(f"{name}.{key}", value)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else shortening.line(value)
