"""Everything that is wrong with a workflow whose steps can be read, without any data and before any input is known."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tao_skill_bank.bank.catalog import did_you_mean
from tao_skill_bank.errors import Problem, RequestError, TaoSkillsError
from tao_skill_bank.workflows import inputs, outputs, references, step_checks
from tao_skill_bank.workflows.declaration import ENGINE, ORDERED, Condition, OuterStep, Step, Workflow
from tao_skill_bank.workflows.references import Reference

NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_ -]{0,58}[A-Za-z0-9_])?")
INPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Placed:
    """A step with its position in the order of the file, and the loop around it."""

    step: Step
    position: int
    loop: str = ""

    @property
    def is_loop(self) -> bool:
        return isinstance(self.step, OuterStep) and self.step.repeat is not None


def placed(workflow: Workflow) -> list[Placed]:
    """Return every step in the order in which it first ends: a loop comes after its own steps."""
    found: list[Placed] = []
    for outer in workflow.steps:
        for inner in outer.repeat.steps if outer.repeat else ():
            found.append(Placed(inner, len(found), outer.name))
        found.append(Placed(outer, len(found)))
    return found


def problems(workflow: Workflow, source: str, broken: set[str], *, has_head: bool) -> list[Problem]:
    """Return every problem. Steps in `broken` could not be read: nothing is said of them and of their outputs."""
    found = [*_of_names(workflow, source)]
    steps = placed(workflow)
    if has_head:
        found += [*_of_inputs(workflow, source), *_of_limits(workflow, source)]
    book = _Book(workflow, {each.step.name: each for each in steps}, broken, source, has_head)
    for each in steps:
        if each.step.name not in broken:
            found += [*step_checks.problems(each.step, source, is_loop=each.is_loop), *book.of(each)]
    found += book.cycles()
    return found


@dataclass(frozen=True)
class _Book:
    """Looks up what references of steps name."""

    workflow: Workflow
    steps: dict[str, Placed]
    broken: set[str]
    source: str
    has_head: bool

    def of(self, each: Placed) -> Iterator[Problem]:
        """Yield what is wrong with the references and conditions of a step."""
        step = each.step
        for place in _texts(step):
            try:
                named = list(references.named_in(place.text))
            except RequestError as error:
                yield from (Problem(found.code, self._said(step, found.message), found.fix, place.path)
                            for found in error.problems)  # fmt: skip
                continue
            for reference in named:
                yield from self._reference(each, reference, place.path)
        if step.parent is not None:
            yield from self._reference(each, Reference(step.parent, "job"), f"{step.name}.parent")
        for condition in step.when:
            yield from self._condition(each, condition, f"{step.name}.when")
        if isinstance(step, OuterStep) and step.repeat:
            for condition in step.repeat.until:
                yield from self._condition(each, condition, f"{step.name}.repeat.until")
            yield from self._bound(step)

    def cycles(self) -> Iterator[Problem]:
        """Yield one problem for every set of steps that need each other."""
        needs = {name: self._needed_by(each) for name, each in self.steps.items()}
        seen: set[str] = set()
        for name in needs:
            path = _cycle(name, needs)
            if path and not seen & set(path):
                seen |= set(path)
                message = f"{self.source}: these steps need each other: {' -> '.join([*path, path[0]])}."
                fix = "Let one of them do without the other; across iterations of a loop write ${STEP.OUTPUT?}."
                yield Problem("workflow_cycle", message, fix, path[0])

    def _needed_by(self, each: Placed) -> set[str]:
        named = [reference for place in _texts(each.step) for reference in _quiet(place.text)]
        named += [Reference.of(condition.value) for condition in each.step.when]
        needed = {reference.step for reference in named if not reference.optional}
        return {name for name in {*needed, each.step.parent or ""} if name in self.steps}

    def _reference(self, each: Placed, reference: Reference, path: str) -> Iterator[Problem]:
        if not reference.step:
            yield from self._input(each.step, reference.output, path)
        elif reference.step == ENGINE:
            known = ["folder", *(["iteration"] if each.loop or each.is_loop else [])]
            if reference.output not in known:
                message = self._said(each.step, f"{reference} is nothing that the engine gives here.")
                yield Problem("unknown_output", message, f"Use: {', '.join(known)}.", path)
        elif reference.step not in self.steps:
            hint = did_you_mean(reference.step, self.steps)
            message = self._said(each.step, f"it names the step '{reference.step}', which there is not.{hint}")
            yield Problem("unknown_step", message, f"Use one of: {', '.join(self.steps)}.", path)
        elif reference.step not in self.broken:
            yield from self._output(each, self.steps[reference.step], reference, path)

    def _output(self, each: Placed, giver: Placed, reference: Reference, path: str) -> Iterator[Problem]:
        is_own_loop = bool(each.loop) and each.loop == giver.loop
        is_around = each.is_loop and giver.loop == each.step.name
        is_later = giver.position >= each.position and not is_around
        if is_later and not (is_own_loop and reference.optional) and each.step.name not in self._chain(giver):
            message = self._said(each.step, f"{reference} is an output of a step that runs later.")
            fix = f"Move '{giver.step.name}' before it, or name an earlier step."
            yield Problem("later_step", message, fix, path)
        known = outputs.names_of(giver.step, is_loop=giver.is_loop)
        first = reference.output.partition(".")[0]
        if known is not None and first not in known:
            hint = did_you_mean(first, known)
            message = self._said(each.step, f"'{giver.step.name}' has no output '{first}'.{hint}")
            yield Problem("unknown_output", message, f"Use one of: {', '.join(known) or 'none'}.", path)

    def _chain(self, giver: Placed) -> set[str]:
        """Return the steps that a step needs, directly or through others, and itself."""
        found, waiting = set[str](), {giver.step.name}
        while waiting:
            name = waiting.pop()
            found.add(name)
            waiting |= self._needed_by(self.steps[name]) - found
        return found

    def _input(self, step: Step, name: str, path: str) -> Iterator[Problem]:
        if self.has_head and name not in self.workflow.inputs:
            hint = did_you_mean(name, self.workflow.inputs)
            message = self._said(step, f"nothing gives ${name}.{hint}")
            known = ", ".join(self.workflow.inputs) or "none"
            yield Problem("unknown_variable", message, f"Declare it under inputs, or use one of: {known}.", path)

    def _condition(self, each: Placed, condition: Condition, path: str) -> Iterator[Problem]:
        yield from self._reference(each, Reference.of(condition.value), path)
        is_number = isinstance(condition.constant, (int, float)) and not isinstance(condition.constant, bool)
        fault, fix = "", ""
        if isinstance(condition.constant, str) and "$" in condition.constant:
            try:
                for reference in references.named_in(condition.constant):
                    yield from self._reference(each, reference, path)
            except RequestError as error:
                fault, fix = error.problems[0].message, error.problems[0].fix
        elif condition.op == "in" and not isinstance(condition.constant, list):
            fault, fix = f"`in` needs a list, not {condition.constant!r}.", "Write constant: [A, B]."
        elif condition.op in ORDERED and not is_number:
            fault, fix = f"{condition.op} needs a number, not {condition.constant!r}.", "Write a number, or use ==."
        if fault:
            yield Problem("invalid_condition", self._said(each.step, fault), fix, path)

    def _bound(self, step: OuterStep) -> Iterator[Problem]:
        assert step.repeat is not None
        bound, path = step.repeat.at_most, f"{step.name}.repeat.at_most"
        yield from _number_of(self.workflow, bound, self._said(step, "at_most"), path, self.has_head)

    def _said(self, step: Step, text: str) -> str:
        return f"{self.source}: step '{step.name}': {text}"


def _texts(step: Step) -> list[references.Place]:
    given = {"request": step.request, "arguments": step.arguments}
    return [place for name, value in given.items() for place in references.texts(value or {}, f"{step.name}.{name}")]


def _quiet(text: str) -> list[Reference]:
    try:
        return list(references.named_in(text))
    except TaoSkillsError:  # reported with the step
        return []


def _cycle(name: str, needs: dict[str, set[str]]) -> list[str]:
    """Return the steps of a cycle through a step, in order; empty where there is none."""
    stack = [[name]]
    seen: set[str] = set()
    while stack:
        path = stack.pop()
        for needed in sorted(needs[path[-1]]):
            if needed == name:
                return path
            if needed not in seen:
                seen.add(needed)
                stack.append([*path, needed])
    return []


def _number_of(workflow: Workflow, value: object, what: str, path: str, has_head: bool) -> Iterator[Problem]:
    """Yield what is wrong with a limit: it is a number above 0, or `$NAME` of an input that is one."""
    if isinstance(value, str):
        field = workflow.inputs.get(value[1:]) if value.startswith("$") else None
        if has_head and (field is None or field.type not in ("integer", "number")):
            message = f"{what} is '{value}', which is not the name of an input that is a number."
            yield Problem("invalid_bound", message, "Write a number, or $NAME of an input.", path, value)
    elif isinstance(value, (int, float)) and value <= 0:
        yield Problem("invalid_bound", f"{what} is {value}.", "Write a number above 0.", path, value)


def _of_names(workflow: Workflow, source: str) -> Iterator[Problem]:
    names = [each.step.name for each in placed(workflow)]
    for name, count in Counter(names).items():
        if count > 1:
            message = f"{source}: {count} steps are called '{name}'."
            yield Problem("duplicate_step", message, "Give each step a name of its own.", name)
        if not NAME.fullmatch(name) or name == ENGINE:
            message = f"{source}: '{name}' cannot be the name of a step."
            fix = f"Use letters, digits, blanks, - and _, beginning with a letter; '{ENGINE}' is taken."
            yield Problem("invalid_step_name", message, fix, name)
    folders = Counter(outputs.folder_name(name) for name in set(names))
    for folder, count in folders.items():
        if count > 1:
            message = f"{source}: {count} steps have names that give the same folder, {folder}."
            yield Problem("duplicate_step", message, "Give them names that differ in more than blanks.", folder)


def _of_inputs(workflow: Workflow, source: str) -> Iterator[Problem]:
    for name, field in workflow.inputs.items():
        what, path = f"{source}: input '{name}'", f"inputs.{name}"
        if not INPUT_NAME.fullmatch(name):
            yield Problem("invalid_input_name", f"{what} has no plain name.", "Use letters, digits and _.", path)
        if bool(field.choices) != (field.type == "choice"):
            fix = "Give choices to an input of the type choice, and to no other."
            yield Problem("invalid_input", f"{what} is of the type {field.type}.", fix, f"{path}.choices")
        elif field.default is not None and (fault := inputs.fault_of(field, field.default)):
            yield Problem("invalid_input", f"{what}: its default {fault}.", "Correct it.", f"{path}.default")
        if field.required and field.default is not None:
            message = f"{what} is required and has a default."
            yield Problem("invalid_input", message, "Leave one of them out.", f"{path}.required")


def _of_limits(workflow: Workflow, source: str) -> Iterator[Problem]:
    limits = workflow.limits
    for name in ("iterations", "gpu_hours", "disk_gib", "rows"):
        value = getattr(limits, name)
        yield from _number_of(workflow, value, f"{source}: limits.{name}", f"limits.{name}", has_head=True)
    for host in limits.hosts:
        if host.startswith("$") and host[1:] not in workflow.inputs:
            message = f"{source}: limits.hosts: nothing gives {host}."
            yield Problem("unknown_variable", message, "Declare it under inputs, or name the host.", "limits.hosts")
