"""Template + shorthand keys + overrides + data sources + parent -> one validated nested spec."""

import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank import violation_fixes
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.bank.nearest_values import MISSING, nearest
from tao_skill_bank.bank.rules import broken, same_branch
from tao_skill_bank.bank.skill_info import OUTPUT
from tao_skill_bank.bank.violations import nearest_path, not_a_group, violations
from tao_skill_bank.contracts import Finding, Request, to_json
from tao_skill_bank.core import nested, numbers, redact
from tao_skill_bank.errors import Problem, RequestError, TaoSkillsError
from tao_skill_bank.spec import door, model_key, model_names, proven_fixes
from tao_skill_bank.spec.datasets import absolute, dataset_problems, dataset_values
from tao_skill_bank.spec.overrides import assignments, merged
from tao_skill_bank.staging import places
from tao_skill_bank.weights import model_uri

SECRET_FIX = "Remove it and export it as an environment variable instead, such as HF_TOKEN."
ENV_FIX = (
    "Name the variable alone, env=NAME: its value comes from the environment; on Kubernetes from --option secret=NAME."
)
SECRET_FIXES = {  # by scheme of the URL that holds it
    "s3": "Remove it from the URL and export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
    "gs": "Remove it from the URL and export GOOGLE_APPLICATION_CREDENTIALS, the path of a key file.",
    "hf_model": "Remove it and export it as HF_TOKEN.",
    **dict.fromkeys(
        ("postgresql", "postgresql+psycopg"), "Remove it, and export PGPASSWORD or write it into ~/.pgpass."
    ),
}


@dataclass(frozen=True)
class Spec:
    """A nested spec and how it was built.

    Attributes:
        values: the nested spec.
        given: dotted paths set by the request, not by the template.
        overrides: those of the request, with the model under the path of the action.
        findings: changes made while building, for the plan.
        problems: problems of the request so far.
    """

    values: dict[str, Any]
    given: frozenset[str] = frozenset()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()


def build(skill: Skill, request: Request, inherited: Mapping[str, Any] | None = None) -> Spec:
    """Return the spec of a request.

    Args:
        skill: the skill that owns the action.
        request: what the user asked for.
        inherited: dotted paths and values that a parent job contributes, None for a key that it lacks; overrides
            win over them.

    Raises:
        RequestError: every problem of the request, all together.
        UnknownNameError: the skill has no such action.
    """
    spec, problems = _tried(skill, request, inherited)
    if problems:
        raise RequestError(proven_fixes.proven(problems, lambda added: problems_with(skill, request, added, inherited)))
    return spec


def problems_with(
    skill: Skill, request: Request, added: Mapping[str, Any], inherited: Mapping[str, Any] | None = None
) -> list[Problem]:
    """Return the problems that a request has with overrides added; args are those of `build`."""
    overrides = merged(request.overrides, added, skill.schema(request.action))
    try:
        return _tried(skill, replace(request, overrides=overrides), inherited)[1]
    except TaoSkillsError as error:
        return list(error.problems)


def _tried(skill: Skill, request: Request, inherited: Mapping[str, Any] | None) -> tuple[Spec, list[Problem]]:
    """Return the spec of a request as far as it can be built, and its problems."""
    schema = skill.schema(request.action)
    spec = Spec(values=schema["default"], problems=(*_secret_problems(request), *_empty_problems(request)))
    for path, value in (inherited or {}).items():
        spec = _assigned(spec, path, value) if value is not None else _deleted(spec, path, schema)
    spec = replace(spec, given=frozenset())
    spec = _with_overrides(spec, skill, request, schema)
    spec = _with_datasets(spec, skill, request)
    spec = _with_recipe(spec, skill, schema)
    spec = _with_process_counts(spec, skill, request)
    spec = _with_model_uris(spec, skill, request)
    spec = _with_exclusive_defaults_dropped(spec, schema)
    return spec, [*spec.problems, *_validity_problems(spec, skill, request, schema)]


def _with_overrides(spec: Spec, skill: Skill, request: Request, schema: Mapping[str, Any]) -> Spec:
    shorthand = skill.info.spec_shorthand_keys
    spelled = model_key.spelled(skill, request.action, list(assignments(request.overrides, schema)), schema)
    spec = replace(
        spec,
        overrides=dict(spelled.pairs) if spelled.is_changed else request.overrides,
        findings=(*spec.findings, *spelled.findings),
        problems=(*spec.problems, *spelled.problems),
    )
    for given, value in spelled.pairs:  # a later one wins, however it is spelled
        path = shorthand[given] if given in shorthand and schemas.at(schema, given) is None else given
        if _is_ignored(path, skill.info.ignored_keys, schema):
            message = f"{path} is not used by this skill and is ignored."
            finding = Finding(
                "ignored_parameter", "warning", message, "Remove it from the request.", path, fix_set={path: None}
            )
            spec = replace(spec, findings=(*spec.findings, finding))
        elif value is None:
            spec = _deleted(spec, path, schema)
        elif "properties" in (schemas.at(schema, path) or {}):
            spec = replace(spec, problems=(*spec.problems, not_a_group(path, value)))
        else:
            spec = _assigned(spec, path, _coerced(value, schemas.at(schema, path)))
    return spec


def _assigned(spec: Spec, path: str, value: Any) -> Spec:
    return replace(spec, values=nested.with_value(spec.values, path, value), given=spec.given | {path})


def _deleted(spec: Spec, path: str, schema: Mapping[str, Any]) -> Spec:
    """Remove a key, or reset it to its default where the trainer requires it."""
    if schemas.at(schema, path) is None:
        known = [name for name, _ in schemas.parameters(schema)]
        nearest = nearest_path(path, known)
        hint = f" Did you mean {nearest}?" if nearest else ""
        problem = Problem(
            code="unknown_parameter",
            message=f"There is no parameter {path} to delete.{hint}",
            fix=f"Use {nearest}." if nearest else f"Remove {path}.",
            path=path,
            expected=nearest,
            fix_set={path: None} | ({nearest: None} if nearest else {}),
        )
        return replace(spec, problems=(*spec.problems, problem))
    default = nested.get(schema["default"], path)
    leaf = schemas.at(schema, path) or {}
    if default is None or leaf.get("removable"):
        return replace(spec, values=nested.without(spec.values, path), given=spec.given | {path})
    spec = replace(spec, values=nested.with_value(spec.values, path, default))
    if leaf.get("type") != "string" or default == "":
        return spec
    message = f"{path} is null, which resets it to its default {json.dumps(default, ensure_ascii=False)}."
    finding = Finding("reset_to_default", "info", message, f"For an empty text write --set {path}=''.", path)
    return replace(spec, findings=(*spec.findings, finding))


def _coerced(value: Any, leaf: Mapping[str, Any] | None) -> Any:
    """Return the value in the schema's own type where no information is lost: true -> "true", 3.0 -> 3."""
    if leaf is None:
        return value
    if isinstance(value, bool) and str(value).lower() in leaf.get("enum", ()):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and leaf.get("type") == "integer":
        return int(value)
    return value


def _is_ignored(path: str, ignored: tuple[str, ...], schema: Mapping[str, Any]) -> bool:
    if schemas.at(schema, path) is not None:
        return False
    names = path.split(".")
    return any(key in names if "." not in key else fnmatch.fnmatch(f"{path}.", f"{key}.*") for key in ignored)


def _with_datasets(spec: Spec, skill: Skill, request: Request) -> Spec:
    sources = skill.info.data_sources.get(request.action, {})
    contract = skill.info.dataset_contract
    problems: list[Problem] = []
    for role, value in request.datasets.items():
        if role in sources:
            for path, name in dataset_values(value, sources[role], contract).items():
                if path in spec.given and nested.get(spec.values, path) != name:
                    message = f"{path} is given twice: as dataset '{role}' and as an override."
                    fix = f"Keep one of them: --set {path}=null keeps the dataset."
                    problems.append(Problem("given_twice", message, fix, path, name, fix_choices=({path: None},)))
                spec = _assigned(spec, path, name)
    inputs = skill.info.actions[request.action].inputs
    keys = [key for source in sources.values() for key in source.keys]
    for path in (*keys, *inputs.media, *inputs.paths):
        name = nested.get(spec.values, path)
        if isinstance(name, str) and name:
            spec = replace(spec, values=nested.with_value(spec.values, path, absolute(name)))
    for path, key in inputs.listed.items():
        items = nested.get(spec.values, path)
        if isinstance(items, list):
            placed = [_with_absolute(item, key) for item in items]
            spec = replace(spec, values=nested.with_value(spec.values, path, placed))
    problems += dataset_problems(skill.name, request, sources, spec.values)
    problems += _place_problems(spec, (*keys, *inputs.models, *inputs.paths))
    return replace(spec, problems=(*spec.problems, *problems))


def _place_problems(spec: Spec, keys: Sequence[str]) -> Iterator[Problem]:
    """Yield inputs that cannot be read from where they are, and outputs that must be local."""
    for path in dict.fromkeys(keys):
        name = nested.get(spec.values, path)
        if not isinstance(name, str) or not places.is_remote(name):
            continue
        if OUTPUT in path:
            message = f"{path} is {name}; it is written locally."
            fix = f"Set it to a local folder; results_dir may be remote, and {path} is then a folder of it by default."
            yield Problem("remote_output", message, fix, path, name, "a local folder", {path: None})
        elif wrong := places.problem_of(name):
            yield Problem("invalid_place", f"{path} is {name}: {wrong}.", "Correct it.", path, name)


def _with_absolute(item: Any, key: str) -> Any:
    """Return an object of a list with its path made absolute; anything else is left for the schema to reject."""
    name = item.get(key) if isinstance(item, dict) else None
    return {**item, key: absolute(name)} if isinstance(name, str) and name else item


def _with_recipe(spec: Spec, skill: Skill, schema: Mapping[str, Any]) -> Spec:
    for mode, recipe in skill.info.recipes.items():
        if recipe.when is None or nested.get(spec.values, recipe.when) is not None:
            for path, value in recipe.set.items():
                if schemas.at(schema, path) is not None and path not in spec.given:
                    message = f"{path} is {value:g}, the recipe of mode '{mode}'."
                    finding = Finding("recipe_applied", "info", message, f"Override it with --set {path}=VALUE.", path)
                    values = nested.with_value(spec.values, path, value)
                    spec = replace(spec, values=values, findings=(*spec.findings, finding))
            return spec
    return spec


def _with_process_counts(spec: Spec, skill: Skill, request: Request) -> Spec:
    """Set the spec's own keys from `platform.gpus` and `platform.nodes`; refuse conflicting values."""
    resources = skill.info.actions[request.action].resources
    wanted = (
        (resources.gpu_spec_key, request.platform.gpus, "platform.gpus"),
        (resources.node_spec_key, request.platform.nodes, "platform.nodes"),
    )
    for path, count, name in wanted:
        if path is None or count is None:
            continue
        current = nested.get(spec.values, path)
        if path in spec.given and current != count:
            message = f"{name} is {count}, but {path} is {current}."
            fix = "Give one of them, or the same value."
            choices = ({path: count},)
            problem = Problem("process_count_conflict", message, fix, path, current, count, fix_choices=choices)
            spec = replace(spec, problems=(*spec.problems, problem))
        spec = _assigned(spec, path, count)
    return spec


def _with_model_uris(spec: Spec, skill: Skill, request: Request) -> Spec:
    for path in skill.info.actions[request.action].inputs.models:
        name = nested.get(spec.values, path)
        if not isinstance(name, str) or not name:
            continue
        uri = model_uri.normalise(name)
        if uri.startswith(model_uri.HUB) and uri != name:
            message = (
                f"{path}: '{name}' is not a local path, so it is treated as {uri} and downloaded before the launch."
            )
            finding = Finding("hub_model", "info", message, "", path)
            spec = replace(spec, findings=(*spec.findings, finding))
        if problem := model_names.problem(path, uri, skill.info.package):
            spec = replace(spec, problems=(*spec.problems, problem))
        spec = replace(spec, values=nested.with_value(spec.values, path, uri))
    return spec


def _with_exclusive_defaults_dropped(spec: Spec, schema: Mapping[str, Any]) -> Spec:
    """Drop a template default that excludes a key which the request set."""
    groups = [("", schema), *schemas.parameters(schema)]
    for path, group in groups:
        prefix = f"{path}." if path else ""
        names = [prefix + branch["required"][0] for branch in group.get("oneOf", ()) if "required" in branch]
        if any(name in spec.given and nested.get(spec.values, name) is not None for name in names):
            for name in names:
                if name not in spec.given:
                    spec = replace(spec, values=nested.without(spec.values, name))
    return spec


def _validity_problems(spec: Spec, skill: Skill, request: Request, schema: Mapping[str, Any]) -> list[Problem]:
    reported = {problem.path for problem in spec.problems}
    found = [
        problem
        for problem in (*door.value_problems(schema, spec.values), *violations(schema, spec.values))
        if not any(same_branch(path, problem.path) for path in reported)
    ]
    known = {path for path, _ in schemas.leaves(schema)}
    found += _number_problems(spec, schema, request, {problem.path for problem in found} & known)
    invalid = reported | {problem.path for problem in found}
    return [*found, *broken(skill.rules(request.action), spec.values, invalid)]


def _with_nearest_number(problem: Problem, schema: Mapping[str, Any], values: Mapping[str, Any]) -> Problem:
    """Return the problem of a number with the nearest one that a run can use, where it is in a parameter."""
    path = violation_fixes.leaf_path(schema, problem.path)
    leaf, given = schemas.at(schema, path), nested.get(values, path)
    value, why = nearest(leaf, given) if leaf is not None and given is not None else (MISSING, "")
    return problem if value is MISSING else violation_fixes.chosen(problem, path, value, why)


def _number_problems(spec: Spec, schema: Mapping[str, Any], request: Request, reported: set[str]) -> Iterator[Problem]:
    """Yield each number of the spec and of the request that no run can use, but those of parameters in `reported`."""
    platform = {"gpus": request.platform.gpus, "nodes": request.platform.nodes, "options": request.platform.options}
    given = {"platform": platform, "automl": request.automl}
    seen = set(reported)
    for tree in (spec.values, request.overrides, given):
        for problem in numbers.problems(tree):
            if not any(same_branch(path, problem.path) for path in seen):
                seen.add(problem.path)
                yield _with_nearest_number(problem, schema, spec.values)


def _empty_problems(request: Request) -> Iterator[Problem]:
    """Yield what the request names by an empty text, as an unset shell variable does: no default is meant by it."""
    named = {name: getattr(request, name) for name in ("results_dir", "parent_job_id", "checkpoint", "image")}
    named |= {f"datasets.{role}": value for role, value in request.datasets.items()}
    for path, value in named.items():
        if value == "":
            fix = f"Give {path} a value, or leave it out."
            yield Problem("empty_value", f"{path} is empty.", fix, path, value)


def _secret_problems(request: Request) -> Iterator[Problem]:
    """Yield what the run would use and no plan may hold; the words of the prompt are masked instead."""
    document = {**to_json(request), "prompt": ""}
    for path, variable in redact.secrets_used(document):
        held = f"the value of the environment variable {variable}" if variable else "a credential"
        message = f"{path} holds {held}. The request was not written anywhere."
        scheme = str(nested.get(document, path) or "").partition("://")[0]
        fix = "Remove it: the job reads it from its environment." if variable else SECRET_FIXES.get(scheme, SECRET_FIX)
        fix = ENV_FIX if path == "platform.options.env" else fix
        yield Problem("secret_in_request", message, fix, path)
