"""Finds workflow files, by name in the bank or by path, and reads what they declare."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from tao_skill_bank.bank.catalog import bank_root, did_you_mean
from tao_skill_bank.contracts import from_json
from tao_skill_bank.core import yaml12
from tao_skill_bank.errors import Problem, RequestError, UnknownNameError
from tao_skill_bank.workflows import checks
from tao_skill_bank.workflows.declaration import OuterStep, Repeat, Step, Workflow

ENDINGS = (".yaml", ".yml", ".json")
UNEXPECTED = "invalid_unexpected_keyword_argument"
MISSING = "invalid_missing"


@dataclass(frozen=True)
class WorkflowFile:
    """A workflow with the file that declares it; `document` is what the file says."""

    path: Path
    document: dict[str, Any]
    workflow: Workflow


def names() -> list[str]:
    """Return the workflows of the bank: workflow/NAME.yaml and workflow/NAME/NAME.yaml."""
    return sorted(_known())


def load(name: str) -> WorkflowFile:
    """Return the workflow of a name, or of a path.

    Raises:
        UnknownNameError: there is none.
        RequestError: the file is not a valid workflow; everything that is wrong with it is listed.

    """
    path = _known().get(name) or Path(name)
    is_path = name.endswith(ENDINGS) or "/" in name
    if not path.is_file():
        message = f"There is no workflow {'file ' if is_path else ''}'{name}'.{did_you_mean(name, names())}"
        fix = f"Use the path of a file, or one of: {', '.join(names())}."
        raise UnknownNameError.of("unknown_workflow", message, fix, path="workflow", got=name)
    document = yaml12.read(path)
    return WorkflowFile(path, document, parse(document, str(path)))


def parse(document: Any, source: str) -> Workflow:
    """Return the workflow that a document declares. Raises RequestError with everything that is wrong with it."""
    if not isinstance(document, dict) or not isinstance(document.get("steps"), list):
        message = f"{source} is not a workflow: it needs at least `name` and a list of `steps`."
        raise RequestError.of("invalid_workflow", message, "See: tao-skills schema workflow", path=source)
    problems: list[Problem] = []
    head = _parsed(Workflow, {**document, "steps": []}, source, problems)
    steps: list[OuterStep] = []
    broken: set[str] = set()
    for number, raw in enumerate(document["steps"], start=1):
        name = _name_of(raw, number)
        before = len(problems)
        steps.append(_outer(raw, name, source, problems))
        if len(problems) > before:
            broken |= {name, *(inner.name for inner in _inner(steps[-1]))}
    workflow = replace(head or Workflow(str(document.get("name")), ()), steps=tuple(steps))
    problems += checks.problems(workflow, source, broken, has_head=head is not None)
    if problems:
        raise RequestError(problems)
    return workflow


def _outer(raw: Any, name: str, source: str, problems: list[Problem]) -> OuterStep:
    """Return a step, or what stands for one that cannot be read; its problems are added."""
    place = f"{source}: step '{name}'"
    if not isinstance(raw, dict) or not isinstance(raw.get("repeat"), dict):
        return _parsed(OuterStep, raw, place, problems) or OuterStep(name)
    repeat = dict(raw["repeat"])
    outer = _parsed(OuterStep, {key: value for key, value in raw.items() if key != "repeat"}, place, problems)
    if "at_most" not in repeat:
        message = f"{place} is a loop without a bound."
        fix = "Add at_most: a number of iterations, or $NAME of an input that is one."
        problems.append(Problem("loop_without_bound", message, fix, f"{name}.repeat.at_most"))
        repeat["at_most"] = 1
    given = repeat.get("steps")
    inner = [_inner_step(each, index, source, problems) for index, each in enumerate(given or (), start=1)]
    if not inner:
        problems.append(Problem("loop_empty", f"{place} repeats no steps.", "Add steps.", f"{name}.repeat.steps"))
    loop = _parsed(Repeat, {**repeat, "steps": []}, f"{place}: repeat", problems) or Repeat((), 1)
    return replace(outer or OuterStep(name), repeat=replace(loop, steps=tuple(inner)))


def _inner_step(raw: Any, number: int, source: str, problems: list[Problem]) -> Step:
    name = _name_of(raw, number)
    place = f"{source}: step '{name}'"
    if isinstance(raw, dict) and "repeat" in raw:
        message = f"{place} is a loop in a loop."
        problems.append(Problem("loop_in_loop", message, "Write one loop with all the steps.", f"{name}.repeat"))
        raw = {key: value for key, value in raw.items() if key != "repeat"} | {"stop": "a loop"}
    return _parsed(Step, raw, place, problems) or Step(name)


def _parsed(kind: type, raw: Any, source: str, problems: list[Problem]) -> Any:
    if not isinstance(raw, dict):
        problems.append(Problem("invalid_step", f"{source} is not a mapping.", "Write keys and values.", source))
        return None
    try:
        return from_json(kind, raw, source)
    except RequestError as error:
        known = [each.name for each in fields(kind)]
        problems += [_explained(problem, source, known) for problem in error.problems]
        return None


def _explained(problem: Problem, source: str, known: list[str]) -> Problem:
    if problem.code == UNEXPECTED:
        hint = did_you_mean(problem.path, known) if "." not in problem.path else ""
        message = f"{source} has an unknown key '{problem.path}'.{hint}"
        return replace(problem, code="unknown_key", message=message, fix="Remove it, or correct its name.")
    if problem.code == MISSING:
        message = f"{source} lacks '{problem.path}'."
        return replace(problem, code="missing_key", message=message, fix=f"Add {problem.path}.")
    return problem


def _name_of(raw: Mapping[str, Any] | Any, number: int) -> str:
    name = raw.get("name") if isinstance(raw, Mapping) else None
    return name if isinstance(name, str) and name else f"number {number}"


def _inner(step: OuterStep) -> Iterator[Step]:
    yield from step.repeat.steps if step.repeat else ()


def _known() -> dict[str, Path]:
    folder = bank_root() / "workflow"
    found = [*folder.glob("*.yaml"), *(path for path in folder.glob("*/*.yaml") if path.stem == path.parent.name)]
    return {path.stem: path for path in found}
