"""What is wrong with one step by itself: what it is, its skill and action, its keys, the arguments of its stage."""

from collections.abc import Iterator, Mapping
from typing import Any

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank.catalog import Skill, did_you_mean
from tao_skill_bank.contracts import Request, from_json
from tao_skill_bank.errors import Problem, RequestError, TaoSkillsError, UnknownNameError
from tao_skill_bank.spec import build
from tao_skill_bank.spec.overrides import assignments
from tao_skill_bank.workflows import references
from tao_skill_bank.workflows import stage as stages
from tao_skill_bank.workflows.declaration import Step

PENDING = "value of an earlier step"
OF_THE_ENGINE = {"results_dir": "every step has a folder of its own below that of the run"}


def problems(step: Step, source: str, *, is_loop: bool) -> Iterator[Problem]:
    """Yield what is wrong with a step."""
    where = f"{source}: step '{step.name}'"
    kinds = [kind for kind in ("request", "stage", "stop") if getattr(step, kind) is not None]
    kinds += ["repeat"] if is_loop else []
    if len(kinds) != 1:
        message = f"{where} is {' and '.join(kinds) or 'neither a request nor a stage'}."
        yield Problem("step_kind", message, "Give exactly one of request, stage, repeat and stop.", step.name)
        return
    kind = kinds[0]
    if step.stop is not None and not step.when:
        yield Problem(
            "stop_without_when", f"{where} always stops.", "Say when it does: add `when`.", f"{step.name}.when"
        )
    if step.parent is not None and kind != "request":
        yield Problem("parent_of_stage", f"{where}: only a request has a parent.", "Remove it.", f"{step.name}.parent")
    if step.arguments and kind != "stage":
        fix = "Remove them, or name the stage."
        yield Problem("arguments_unused", f"{where}: only a stage has arguments.", fix, f"{step.name}.arguments")
    if kind == "stage":
        yield from _of_stage(step, where)
    elif step.request is not None:
        yield from _of_request(step, step.request, where)


def _of_stage(step: Step, where: str) -> Iterator[Problem]:
    try:
        stage = stages.find(str(step.stage))
    except UnknownNameError as error:
        yield from (_at(problem, where, f"{step.name}.stage") for problem in error.problems)
        return
    pending = {name for name, value in step.arguments.items() if any(references.texts(value, name))}
    known = stages.argument_names(stage)
    for problem in stages.argument_problems(stage, step.arguments, "arguments", pending=pending):
        hint = did_you_mean(problem.path, known) if problem.path not in known else ""
        fix = f"Give: {', '.join(known)}." if hint or problem.path not in known else problem.fix
        yield _at(problem, where, f"{step.name}.arguments.{problem.path}", hint, fix)


def _of_request(step: Step, given: Mapping[str, Any], where: str) -> Iterator[Problem]:
    for name, why in OF_THE_ENGINE.items():
        if name in given:
            message = f"{where}: a request of a workflow has no {name}: {why}."
            yield Problem("set_by_engine", message, "Remove it.", f"{step.name}.request.{name}")
    if step.parent is not None and "parent_job_id" in given:
        message = f"{where} has a parent and a parent_job_id."
        yield Problem("given_twice", message, "Leave one of them out.", f"{step.name}.parent")
    pending = {place.path for place in references.texts(given, "")}
    if not _is_readable(given):
        return
    request = from_template(given, where)
    if isinstance(request, RequestError):
        ours = [each for each in request.problems if f".{each.path}" not in pending]
        yield from (_at(each, "", f"{step.name}.request.{each.path}") for each in ours)
        return
    try:
        skill = catalog.find(request.skill)
        skill.action(request.action)
    except TaoSkillsError as error:
        yield from (_at(each, where, f"{step.name}.request.{each.path}") for each in error.problems)
        return
    if request.action == "train" and request.automl_policy is None and not request.prompt:
        message = f"{where} does not say whether the training searches hyperparameters."
        fix = 'Add automl_policy: "off" or "auto", or a prompt in words.'
        yield Problem("policy_missing", message, fix, f"{step.name}.request.automl_policy")
    yield from _of_overrides(step, skill, request, where)


def _is_readable(given: Mapping[str, Any]) -> bool:
    """Return whether every dollar sign starts a reference; one that does not is reported with the references."""
    try:
        for place in references.texts(given, ""):
            list(references.named_in(place.text))
    except RequestError:
        return False
    return True


def from_template(given: Mapping[str, Any], where: str) -> Request | RequestError:
    """Return the request of a template with a text in place of every value that is not known yet, or what is wrong."""
    filled = references.filled(_plain_platform(given), lambda _: PENDING)
    pending = {place.path[1:] for place in references.texts(given, "")}
    try:
        return from_json(Request, filled, f"{where}: request")
    except RequestError as error:
        if not all(each.path in pending for each in error.problems):
            return error
        kept = {key: value for key, value in filled.items() if key in ("skill", "action", "prompt", "overrides")}
        kept |= {"overrides": {}} if kept.get("overrides") == PENDING else {}
        policy = {"automl_policy": "off"} if "automl_policy" in filled else {}
        return from_json(Request, {**kept, **policy}, where)


def _plain_platform(given: Mapping[str, Any]) -> dict[str, Any]:
    platform = given.get("platform")
    return {**given, **({"platform": {"name": platform}} if isinstance(platform, str) else {})}


def _of_overrides(step: Step, skill: Skill, request: Request, where: str) -> Iterator[Problem]:
    """Yield unknown keys, and values that no data can make valid; what depends on data is planned later."""
    schema = skill.schema(request.action)
    given = dict(assignments(request.overrides, schema))
    shorthand = skill.info.spec_shorthand_keys
    known = {shorthand.get(path, path) for path, value in given.items() if PENDING not in str(value)}
    for each in build.problems_with(skill, request, {}):
        is_ours = each.code == "unknown_parameter" or (each.path in known and each.code.startswith("invalid_"))
        if is_ours and PENDING not in str(each.got):
            yield _at(each, where, f"{step.name}.request.overrides.{each.path}")


def _at(problem: Problem, where: str, path: str, hint: str = "", fix: str = "") -> Problem:
    message = f"{where}: {problem.message}{hint}" if where else f"{problem.message}{hint}"
    return Problem(
        problem.code, message, fix or problem.fix, path, problem.got, problem.expected, problem.fix_set,
        problem.fix_choices,
    )  # fmt: skip
