"""A sealed workflow: what is approved once. Its hash covers the file, the inputs, the limits and every plan in it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tao_skill_bank.contracts import Finding, Plan, contract, from_json, to_json
from tao_skill_bank.core import findings, json_reader, locations, regular_files
from tao_skill_bank.core.redact import secrets_used
from tao_skill_bank.errors import BlockedError, ConflictError, Problem, RequestError, TaoSkillsError, UnknownNameError
from tao_skill_bank.planning import dispatch, gate
from tao_skill_bank.runs import plan_versions
from tao_skill_bank.workflows import commands, conditions, files, inputs, limits, occurrences
from tao_skill_bank.workflows import stage as stages
from tao_skill_bank.workflows.declaration import Limits, OuterStep, Step, Workflow
from tao_skill_bank.workflows.files import WorkflowFile
from tao_skill_bank.workflows.references import Reference
from tao_skill_bank.workflows.scope import NotYetError, Scope

FILE = "workflow.json"
FOLDERS = "results"
PlannedState = Literal["planned", "later", "skipped"]


@contract
class PlannedStep:
    """A step as it was planned before the run: with its plan, or why that comes later or never."""

    step: str
    state: PlannedState
    why: str = ""
    plan: Plan | None = None


@contract
class SealedWorkflow:
    """A workflow with its inputs and limits, ready to run in `folder`. `sha256` covers every other field."""

    name: str
    source: str
    document: dict[str, Any]
    inputs: dict[str, Any]
    limits: Limits
    folder: str
    steps: tuple[PlannedStep, ...] = ()
    sha256: str = ""
    schema_version: Literal[1] = 1

    @property
    def workflow(self) -> Workflow:
        """What the document declares. Raises RequestError."""
        return files.parse(self.document, self.source)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding of the plans, with the step that it is of."""
        return tuple(_of_step(each.step, found) for each in self.steps if each.plan for found in each.plan.findings)

    @property
    def blocking(self) -> tuple[Finding, ...]:
        return tuple(found for found in self.findings if found.severity == "blocking")

    def plan_of(self, step: str) -> Plan | None:
        """Return the plan of a step; None where it was not planned."""
        return next((each.plan for each in self.steps if each.step == step), None)


def default_folder(name: str) -> Path:
    """Return where a workflow runs unless another folder is named."""
    return locations.absolute(Path(FOLDERS, name))


def plan(found: WorkflowFile, given: Mapping[str, Any], folder: Path | None = None) -> SealedWorkflow:
    """Seal a workflow: plan every step whose values are known, and say which are planned later. Read-only.

    Raises:
        RequestError: inputs are wrong, or steps contradict their schemas; all of them are listed.
        BlockedError: a limit is too small for what is planned, or a host is not allowed.
        UnknownNameError: a parent or checkpoint that a request names does not exist.
        ConflictError: the folder holds another run, or anything in its way.

    """
    workflow = found.workflow
    values = inputs.values(workflow, given, found.path.parent)
    target = locations.absolute(folder) if folder else default_folder(workflow.name)
    _require_no_secret(found.document)
    scope = Scope(target, values, plans=True)
    bounds = scope.limits(workflow.limits)
    _require_bounds(workflow, scope, bounds)
    sealed = SealedWorkflow(workflow.name, str(found.path), found.document, values, bounds, str(target))
    require_folder(sealed)
    planner = _Planner(scope, bounds, target)
    steps = tuple(planner.planned(workflow))
    if planner.problems:
        raise planner.error()
    sealed = replace(sealed, steps=steps)
    return replace(sealed, sha256=digest(sealed))


def digest(sealed: SealedWorkflow) -> str:
    """Return the sha256 of everything but the hash itself."""
    return plan_versions.digest(to_json(sealed))


def read(path: Path) -> SealedWorkflow:
    """Return a sealed workflow.

    Raises:
        UnknownNameError: there is no such file.
        RequestError: it is none.
        ConflictError: it was edited after it was sealed.

    """
    try:
        document = json_reader.loads(regular_files.read_bytes(path))
    except FileNotFoundError:
        message = f"There is no sealed workflow {path}."
        fix = "Write one with: tao-skills workflow plan ... --out FILE"
        raise UnknownNameError.of("unknown_file", message, fix, path=str(path)) from None
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read as a sealed workflow: {error}"
        raise RequestError.of("unreadable_json", message, "Plan the workflow again.", path=str(path)) from None
    if not isinstance(document, dict):
        raise RequestError.of("unreadable_json", f"{path} is not a sealed workflow.", "Plan it again.", path=str(path))
    plan_versions.require_finite(document, str(path))
    sealed = from_json(SealedWorkflow, document, str(path))
    if digest(sealed) != sealed.sha256:
        message = f"{path} was edited after it was sealed: its content does not match its sha256."
        fix = "Plan the workflow again: tao-skills workflow plan ... --out FILE"
        raise ConflictError.of("stale_plan", message, fix, path=str(path))
    return sealed


def text(sealed: SealedWorkflow) -> str:
    """Return a sealed workflow as it is written."""
    return json.dumps(to_json(sealed), indent=1, ensure_ascii=False) + "\n"


class _Planner:
    """Plans the steps in order; whatever is wrong with one does not hide what is wrong with the next."""

    def __init__(self, scope: Scope, bounds: Limits, folder: Path) -> None:
        self.problems: list[Problem] = []
        self._errors: list[TaoSkillsError] = []
        self._scope, self._bounds, self._folder = scope, bounds, folder
        self._used = limits.Spent()

    def planned(self, workflow: Workflow) -> Iterator[PlannedStep]:
        for outer in workflow.steps:
            if outer.repeat is None:
                yield self._step(outer, "", 0)
                continue
            if self._is_skipped(outer):
                yield PlannedStep(outer.name, "skipped", conditions.text(outer.when))
                self._scope.skip(outer.name)
                for inner in outer.repeat.steps:
                    self._scope.skip(inner.name)
                    yield PlannedStep(inner.name, "skipped", f"{outer.name} is skipped")
                continue
            for inner in outer.repeat.steps:
                self._scope.iteration = 1
                yield self._step(inner, outer.name, 1)
            self._scope.iteration = 0

    def error(self) -> TaoSkillsError:
        """Return one error with every problem; of several kinds, the one that is decided first."""
        first = min(self._errors, key=lambda error: error.exit_code)
        return type(first)(self.problems, first.exit_code)

    def _is_skipped(self, step: Step) -> bool:
        """Return whether conditions on inputs alone already skip a step."""
        known = [each for each in step.when if not Reference.of(each.value).step]
        try:
            return not conditions.hold([self._scope.condition(each) for each in known], self._scope.lookup)
        except (NotYetError, TaoSkillsError):
            return False

    def _step(self, step: Step, loop: str, iteration: int) -> PlannedStep:
        if self._is_skipped(step):
            self._scope.skip(step.name)
            return PlannedStep(step.name, "skipped", f"{conditions.text(step.when)} does not hold")
        if why := _waits_for(step):
            return PlannedStep(step.name, "later", why)
        try:
            return self._known(step, occurrences.folder_of(self._folder, step.name, loop, iteration))
        except NotYetError as error:
            return PlannedStep(step.name, "later", f"needs what '{error.step}' gives")
        except TaoSkillsError as error:
            self._errors.append(error)
            self.problems += [replace(each, message=f"Step '{step.name}': {each.message}") for each in error.problems]
            return PlannedStep(step.name, "later", "is refused")

    def _known(self, step: Step, folder: Path) -> PlannedStep:
        if step.stage is not None:
            stage = stages.find(step.stage)
            arguments = stages.arguments_of(stage, self._scope.filled(step.arguments), step.name)
            limits.require(self._bounds, self._used, limits.Request(step.name, need=stages.need_of(stage, arguments)))
            return PlannedStep(step.name, "planned", f"stage {step.stage}")
        sealed = dispatch.plan(occurrences.request_of(step, self._scope, folder))
        wanted = limits.of_plan(step.name, sealed)
        limits.require(self._bounds, self._used, wanted)
        fewest = wanted.hours[0] if wanted.hours else 0.0
        self._used = replace(self._used, gpu_hours=self._used.gpu_hours + fewest)
        return PlannedStep(step.name, "planned", sealed.route.reason, sealed)


def _waits_for(step: Step) -> str:
    """Return what a step waits for that only the run knows; empty where its references say it."""
    if step.stop is not None:
        return f"stops where {conditions.text(step.when)}"
    waits = [each for each in step.when if Reference.of(each.value).step]
    if waits:
        return f"runs only where {conditions.text(waits)}"
    return f"needs the job of '{step.parent}'" if step.parent is not None else ""


def require_unblocked(sealed: SealedWorkflow) -> None:
    """Raise the error of blocking findings, as planning of the single requests does."""
    gate.raise_if_blocked([found for found in sealed.findings if found.blocks_run])


def _require_bounds(workflow: Workflow, scope: Scope, bounds: Limits) -> None:
    """Refuse loops that may run more often than the limits say, and bounds that are no whole number above 0."""
    problems = []
    for outer in workflow.steps:
        if outer.repeat is None:
            continue
        most = bound_of(outer, scope)
        path = f"{outer.name}.repeat.at_most"
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            message = f"The loop '{outer.name}' runs at most {most!r} times, which is not a whole number from 1."
            problems.append(Problem("invalid_bound", message, "Give a whole number from 1.", path, most))
        elif bounds.iterations is not None and most > float(bounds.iterations):
            message = f"The loop '{outer.name}' may run {most} times; limits.iterations is {bounds.iterations}."
            problems.append(Problem("limit_iterations", message, "Lower the one, or raise the other.", path, most))
    for name in ("iterations", "gpu_hours", "disk_gib", "rows"):
        value = getattr(bounds, name)
        if value is not None and (isinstance(value, str) or value <= 0):
            message = f"limits.{name} is {value!r}, which is not a number above 0."
            problems.append(Problem("invalid_bound", message, "Give a number above 0.", f"limits.{name}", value))
    if problems:
        raise RequestError(problems)


def bound_of(outer: OuterStep, scope: Scope) -> Any:
    """Return how often a loop runs at most."""
    assert outer.repeat is not None
    return scope.filled(outer.repeat.at_most)


def _require_no_secret(document: Mapping[str, Any]) -> None:
    problems = [
        Problem("secret_in_workflow", f"{path} of the workflow holds a credential.", gate.SECRET_FIX, path)
        for path, _ in secrets_used(document)
    ]
    if problems:
        raise RequestError(problems)


def _of_step(step: str, found: Finding) -> Finding:
    return replace(found, message=f"{step}: {found.message}")


def later(sealed: SealedWorkflow) -> list[Finding]:
    """Return which steps are planned later, as one finding; nothing where all are planned."""
    waiting = [f"{each.step} ({each.why})" for each in sealed.steps if each.state == "later"]
    if not waiting:
        return []
    message = f"Planned when their data exists, within the limits: {'; '.join(waiting)}."
    return [
        findings.info("planned_later", message, steps=[each.step for each in sealed.steps if each.state == "later"])
    ]


def require_folder(sealed: SealedWorkflow) -> None:
    """Refuse a run folder that holds a run, or anything under the names that this run will write.

    Raises:
        ConflictError: it does.
        BlockedError: the folder is a file.

    """
    folder = Path(sealed.folder)
    if folder.exists() and not folder.is_dir():
        message = f"{folder} is not a folder."
        raise BlockedError.of("folder_is_file", message, "Give another --folder.", path=str(folder))
    if (folder / FILE).exists():
        require_same(read(folder / FILE), sealed)
        message = f"{folder} already holds a run of this workflow with these inputs."
        raise ConflictError.of("workflow_started", message, f"Resume it: {commands.resume(folder)}", path=str(folder))
    taken = [name for name in occurrences.names_in(sealed.workflow) if (folder / name).exists()]
    if taken:
        message = f"{folder} already holds {taken[0]}, which a run of {sealed.name} would write."
        raise ConflictError.of("folder_not_free", message, "Give another --folder.", path=str(folder))


def require_same(there: SealedWorkflow, wanted: SealedWorkflow) -> None:
    """Raise ConflictError where a folder holds a run of another workflow, of a changed one, or of other inputs."""
    folder = there.folder
    if there.name != wanted.name:
        what = f"the workflow {there.name}, not {wanted.name}"
    elif there.document != wanted.document:
        what = f"{there.name} as it was before {wanted.source} changed"
    elif there.inputs != wanted.inputs:
        names = [name for name in wanted.inputs if there.inputs.get(name) != wanted.inputs[name]]
        what = f"{there.name} with another value of {', '.join(names)}"
    else:
        return
    fix = f"Give another --folder, or resume what is there: {commands.resume(Path(folder))}"
    raise ConflictError.of("another_workflow", f"{folder} holds {what}.", fix, path=folder)
