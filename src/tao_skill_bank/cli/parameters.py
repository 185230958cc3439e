"""What the schema of an action says of single keys: one of them, or those that match a word."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tao_skill_bank.authoring.generated_files import search_words
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.bank.violations import nearest_path
from tao_skill_bank.core import plain_text
from tao_skill_bank.errors import UnknownNameError

IN_OTHER_WORDS = (
    "properties",
    "additionalProperties",
    "automl_enabled",
    "required",
    "type",
    "anyOf",
    "math_cond",
    "popular",
)


def describe(skill: Skill, action: str, key: str) -> dict[str, Any]:
    """Return what is known of one key, dotted or a shorthand: default, limits, search domain, and children of a group.

    Raises:
        UnknownNameError: there is no such skill, action or key; the nearest key is named.

    """
    schema = skill.schema(action)
    path = key if schemas.at(schema, key) is not None else skill.info.spec_shorthand_keys.get(key, key)
    found = schemas.at(schema, path)
    if found is None:
        raise _unknown(schema, skill, action, key)
    known = {name: value for name, value in found.items() if name not in IN_OTHER_WORDS}
    if "properties" not in found:
        return {
            "key": path,
            "expects": schemas.expectation(found),
            **_default(found),
            **known,
            "automl": search_words(found),
        }
    children = [_brief(f"{path}.{name}", child) for name, child in found["properties"].items()]
    return {"key": path, "expects": "a group of keys", **known, "children": children}


def matching(skill: Skill, action: str, word: str) -> list[dict[str, Any]]:
    """Return the keys whose name or meaning holds a word, in any case. Raises UnknownNameError where none does."""
    schema, wanted = skill.schema(action), word.casefold()
    found = [
        {"key": path, **_default(leaf), "description": leaf["description"]}
        for path, leaf in schemas.leaves(schema)
        if wanted in f"{path}\n{leaf['description']}".casefold()
    ]
    if not found:
        raise _unknown(schema, skill, action, word)
    return found


def rows(described: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the fields of a described key as rows, the children of a group each on one."""
    for name, value in described.items():
        if name == "children":
            for child in value:
                yield child["key"], "; ".join(f"{field} {shown(part)}" for field, part in list(child.items())[1:])
        else:
            yield name, shown(value)


def shown(value: Any) -> str:
    """Return a value of a schema as text."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _brief(path: str, leaf: Mapping[str, Any]) -> dict[str, Any]:
    if "properties" in leaf:
        return {"key": path, "expects": f"a group of {len(leaf['properties'])} keys"}
    return {"key": path, "expects": schemas.expectation(leaf), **_default(leaf)}


def _default(leaf: Mapping[str, Any]) -> dict[str, Any]:
    return {"default": leaf["default"]} if "default" in leaf else {}


def _unknown(schema: Mapping[str, Any], skill: Skill, action: str, word: str) -> UnknownNameError:
    nearest = nearest_path(word, [path for path, _ in schemas.parameters(schema)])
    quoted = plain_text.quoted(word)
    hint = f" Did you mean {nearest}?" if nearest else ""
    message = f"{skill.name} {action} has no key '{quoted}'.{hint}"
    fix = f"Use {nearest}." if nearest else f"List its keys with: tao-skills template {skill.name} {action}"
    return UnknownNameError.of("unknown_parameter", message, fix, path=quoted, expected=nearest)
