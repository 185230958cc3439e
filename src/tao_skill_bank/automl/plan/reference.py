"""Tables of a search's options and algorithms for the references of its skill, from the code that they describe."""

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pydantic

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.option_checks import BUDGETS, ENDPOINT_LEAST, LEAST
from tao_skill_bank.automl.plan.options import AutomlOptions, Endpoint, Range

ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", re.MULTILINE)
ENDPOINT = "endpoint."
LIMITS = LEAST | {f"{ENDPOINT}{name}": least for name, least in ENDPOINT_LEAST.items()}
KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def option_table() -> str:
    """Return a Markdown table of everything that `automl` of a request may hold."""
    groups = ((AutomlOptions, ""), (Range, "ranges.PATH."), (Endpoint, ENDPOINT))
    rows = [row for kind, prefix in groups for row in _options(kind, prefix)]
    return _table(("option", "type", "default", "valid", "meaning"), rows)


def algorithm_table() -> str:
    """Return a Markdown table of the algorithms that are offered."""
    rows = [
        (f"`{name}`", info.meaning, "yes" if info.needs_rungs else "-", "yes" if info.several_objectives else "-")
        for name, info in algorithms.INFO.items()
        if not info.refused
    ]
    return _table(("algorithm", "meaning", "pauses trials", "weighs cost"), rows)


def refused_table() -> str:
    """Return a Markdown table of the algorithms that are known and refused."""
    rows = [(f"`{name}`", info.meaning, f"{info.refused}.") for name, info in algorithms.INFO.items() if info.refused]
    return _table(("algorithm", "meaning", "why it is refused"), rows)


def meanings(kind: type) -> dict[str, str]:
    """Return the descriptions of a contract's fields in its docstring."""
    found = ATTRIBUTE.findall(inspect.getdoc(kind) or "")
    return {name: " ".join(text.split()) for names, text in found for name in names.split(", ")}


TABLES = {
    "automl_options": option_table,
    "automl_algorithms": algorithm_table,
    "automl_refused": refused_table,
}


def _options(kind: type, prefix: str) -> Iterator[tuple[str, ...]]:
    said = meanings(kind)
    for name, leaf in pydantic.TypeAdapter(kind).json_schema()["properties"].items():
        default = leaf.get("default")
        shown = f"`{json.dumps(default)}`" if default not in (None, []) else "-"
        yield f"`{prefix}{name}`", _kind(leaf), shown, _valid(f"{prefix}{name}", leaf), said[name]


def _kind(leaf: Mapping[str, Any]) -> str:
    branches = [branch for branch in leaf.get("anyOf", [leaf]) if branch.get("type") != "null"]
    words = [_one_kind(branch) for branch in branches]
    return " or ".join(dict.fromkeys(words))


def _one_kind(leaf: Mapping[str, Any]) -> str:
    if "$ref" in leaf or leaf.get("type") == "object":
        return "mapping"
    if "enum" in leaf:
        return "text"
    if leaf.get("type") == "array":
        items = _kind(leaf["items"])
        return f"list of {items}" if " or " not in items else "list"
    return KINDS[leaf["type"]]


def _valid(name: str, leaf: Mapping[str, Any]) -> str:
    if name in LIMITS:
        return f">= {LIMITS[name]:g}"
    if name in BUDGETS:
        return "> 0"
    branches = [leaf, *leaf.get("anyOf", ()), leaf.get("items", {})]
    values = next((branch["enum"] for branch in branches if "enum" in branch), ())
    return ", ".join(f"`{value}`" for value in values) or "-"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
