"""One spelling of the model's key: `model_name_or_path` names the model in every action of every skill.

Actions call it by different paths in their specs, as the public skills do. A request may use the one spelling, the
action's own path, or the path or last word that any other action uses: all become the action's own path.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.redact import redacted
from tao_skill_bank.errors import Problem, TaoSkillsError

SPELLING = "model_name_or_path"
Pair = tuple[str, Any]


@dataclass(frozen=True)
class Spelled:
    """Overrides as (path, value), in which the model has the action's own path."""

    pairs: Sequence[Pair]
    is_changed: bool = False
    findings: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()


def spelled(skill: Skill, action: str, pairs: Sequence[Pair], schema: Mapping[str, Any]) -> Spelled:
    """Return overrides with the action's own path of the model, and what is wrong with how they name it."""
    own = skill.action(action).inputs.model
    unknown = {path for path, _ in pairs if schemas.at(schema, path) is None}
    if not unknown or (own is None and SPELLING not in unknown):
        return Spelled(pairs)
    if own is None:
        return _without_model(skill, action, pairs)
    used = [SPELLING, own, *sorted((unknown & _others(skill, own, unknown)) - {SPELLING})]
    given = {path: value for path, value in pairs if path in used}
    if not given.keys() - {own}:
        return Spelled(pairs)
    named = {path: given[path] for path in used if given.get(path) is not None}
    rest = [(path, value) for path, value in pairs if path not in given]
    if len(named) > 1:
        return Spelled(rest, is_changed=True, problems=(_given_twice(own, named),))
    path, value = next(iter((named or given).items()))
    findings = (_respelled(own, path, value),) if path not in (own, SPELLING) else ()
    return Spelled([*rest, (own, value)], is_changed=True, findings=findings)


def _without_model(skill: Skill, action: str, pairs: Sequence[Pair]) -> Spelled:
    """Refuse the model of an action that is about none: what it reads otherwise has its own key."""
    rest = [(path, value) for path, value in pairs if path != SPELLING]
    if all(value is None for path, value in pairs if path == SPELLING):
        return Spelled(rest, is_changed=True)
    read = ", ".join(skill.action(action).inputs.models)
    message = f"{skill.name} {action} runs no model that {SPELLING} could name."
    fix = f"Remove it; the models that it reads have their own keys: {read}." if read else "Remove it."
    problem = Problem("unknown_parameter", message, fix, SPELLING, fix_set={SPELLING: None})
    return Spelled(rest, is_changed=True, problems=(problem,))


def _others(skill: Skill, own: str, unknown: Collection[str]) -> set[str]:
    """Return the paths by which actions call their model, and their last words; of other skills only where needed."""
    found = {SPELLING, *_spellings(skill)}
    if not found.issuperset(unknown):
        with suppress(TaoSkillsError):  # a skill that cannot be read is reported where it is used
            found |= _of_bank(tuple(catalog.skills()))
    return found - {own}


@cache
def _of_bank(skills: tuple[Skill, ...]) -> frozenset[str]:
    return frozenset().union(*(_spellings(skill) for skill in skills if skill.runs_actions))


def _spellings(skill: Skill) -> set[str]:
    paths = {action.inputs.model for action in skill.info.actions.values() if action.inputs.model}
    return paths | {path.rpartition(".")[2] for path in paths}


def _respelled(own: str, path: str, value: Any) -> Finding:
    message = f"{path} is read as {own}, the path of the model in this action."
    fix = f"--set {SPELLING}={value} names the model in every action."
    return Finding("model_key_respelled", "info", message, fix, own, {"given": path})


def _given_twice(own: str, named: Mapping[str, Any]) -> Problem:
    """Refuse two spellings, also of one value: the next edit would change only one of them."""
    listed = " and ".join(f"{path} = {redacted(json.dumps(value))}" for path, value in named.items())
    kept = next(iter(named))
    message = f"The model is given under {len(named)} spellings: {listed}."
    choices = [{other: None for other in named if other != path} for path in named]
    if len({json.dumps(value, sort_keys=True) for value in named.values()}) == 1:
        deleted = ", ".join(choices[0])
        fix = f"Keep {kept} and delete {deleted}: they name the same model, and an edit of one would miss the other."
        return Problem("model_given_twice", message, fix, own, fix_set=choices[0])
    fix = "Delete all but the one with the model that you mean."
    return Problem("model_given_twice", message, fix, own, fix_choices=choices)
