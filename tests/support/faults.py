"""Values that a parameter refuses, generated from its schema, and requests that are valid but for one of them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.nearest_values import accepts
from tao_skill_bank.contracts import Request
from tao_skill_bank.spec import build

ACTIONS = [(skill, action) for skill in catalog.skills() if skill.runs_actions for action in skill.info.actions]
IDS = [f"{skill.name}-{action}" for skill, action in ACTIONS]


def wrong_values(leaf: Mapping[str, Any]) -> Iterator[Any]:
    """Yield values of every kind that a parameter's schema refuses."""
    candidates: list[Any] = ["ten", "", 3.5, -7, 10**9, -1e9, True, "yess", [], [1.5, -2], {"a": 1}, 1e30, ["zzz"]]
    for schema in (leaf, leaf.get("items", {}), *leaf.get("anyOf", ())):
        bounds = (schema.get(name) for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"))
        candidates += [bound + offset for bound in bounds if bound is not None for offset in (-1, 0, 1)]
        members = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]
        candidates += [f"{member}x" for member in members] + [f"{member}".upper() for member in members]
    if leaf.get("type") == "array":
        candidates += [[candidate] for candidate in candidates]
    seen = set()
    for value in candidates:
        text = json.dumps(value)
        if text not in seen and not accepts(leaf, value):
            seen.add(text)
            yield value


def valid_overrides(skill: catalog.Skill, action: str) -> dict[str, Any]:
    """Return overrides with which a request of an action is valid: every dataset, and what the schema requires."""
    sources = skill.info.data_sources.get(action, {}).values()
    overrides: dict[str, Any] = {key: f"/data/{key}" for source in sources for key in source.keys}
    schema = skill.schema(action)
    for path, leaf in schemas.leaves(schema):
        group, _, name = path.rpartition(".")
        owner = schemas.at(schema, group) if group else schema
        if name in (owner or {}).get("required", ()) and "default" not in leaf and path not in overrides:
            if group and schemas.template(schema).get(group.split(".")[0]) is None and group not in str(overrides):
                continue  # an optional group
            overrides[path] = leaf["enum"][0] if "enum" in leaf else "/data/x"
    return overrides


def problems_of(skill: catalog.Skill, action: str, overrides: Mapping[str, Any]) -> list[Any]:
    """Return the problems of a request as a user gets them."""
    try:
        build.build(skill, Request(skill.name, action, overrides=dict(overrides)))
    except build.RequestError as error:
        return list(error.problems)
    return []
