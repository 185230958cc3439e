"""Sized fixes: the overrides of a job's own spec that a failure asks for, with values that its other rules allow."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from tao_skill_bank.bank import rules
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.core import nested, numbers
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.jobs.failure_rules import Step

if TYPE_CHECKING:
    from tao_skill_bank.bank.catalog import Skill

MAX_TRIED = 64  # values of a step


@dataclass(frozen=True)
class PlannedRun:
    """What the plan of a job says of its run: the model package, the action and the spec."""

    package: str
    action: str
    skill: str
    spec: Mapping[str, Any]

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> "PlannedRun | None":
        """Return the run of a plan's document; None where it holds none."""
        job = plan.get("job")
        job = job if isinstance(job, Mapping) else {}
        parts = str(job.get("module", "")).split(".")
        spec = job.get("spec")
        if len(parts) < 2 or not isinstance(spec, Mapping):
            return None
        return cls(parts[-2], str(job.get("action", "")), str(job.get("skill", "")), spec)

    def change(self, path: str, value: Any) -> str:
        """Return an override with the value that it replaces, in words."""
        before = nested.get(self.spec, path)
        return f"{path}={json.dumps(value)}" + ("" if before is None else f" (now {json.dumps(before)})")

    def overrides(self, steps: tuple[Step, ...]) -> dict[str, Any]:
        """Return the overrides of the first step that the spec allows; empty where none does or the skill is gone."""
        from tao_skill_bank.bank import catalog  # only a failure that has such steps needs the skills

        try:
            skill = catalog.find(self.skill)
            checked = _Checked(skill, self.action, self.spec)
            found = (_of_step(step, checked) for step in steps if step.action == self.action)
            return next((overrides for overrides in found if overrides), {})
        except TaoSkillsError:
            return {}


@dataclass(frozen=True)
class _Checked:
    """A spec whose changes are held against the schema and the rules of its skill."""

    skill: "Skill"
    action: str
    spec: Mapping[str, Any]

    @cached_property
    def schema(self) -> dict[str, Any]:
        return self.skill.schema(self.action)

    @cached_property
    def known(self) -> set[tuple[str, str]]:
        """Problems that the spec has anyway."""
        return set(self._problems(self.spec))

    def allows(self, overrides: Mapping[str, Any]) -> bool:
        changed = dict(self.spec)
        for path, value in overrides.items():
            changed = nested.with_value(changed, path, value)
        return set(self._problems(changed)) <= self.known

    def _problems(self, spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        from tao_skill_bank.bank.violations import violations

        for problem in (*violations(self.schema, spec), *rules.broken(self.skill.rules(self.action), spec, set())):
            yield problem.code, problem.path


def _of_step(step: Step, checked: _Checked) -> dict[str, Any]:
    candidates = next(make for name, make in MAKERS.items() if getattr(step, name))(step, checked)
    return next((found for found in islice(candidates, MAX_TRIED) if checked.allows(found)), {})


def _settings(step: Step, checked: _Checked) -> Iterator[dict[str, Any]]:
    wanted = dict(step.set)
    is_known = all(schemas.at(checked.schema, path) is not None for path in wanted)
    if is_known and any(nested.get(checked.spec, path) != value for path, value in wanted.items()):
        yield wanted


def _lower(step: Step, checked: _Checked) -> Iterator[dict[str, Any]]:
    value = _number(checked, step.lower)
    if value is None or value <= 0:
        return
    if isinstance(value, float):
        yield {step.lower: float(f"{value / step.by:.3g}")}
        return
    other = _number(checked, step.multiply) if step.multiply else None
    for smaller in range(value // step.by, 0, -1):
        if other is None:
            yield {step.lower: smaller}
        elif (int(other) * value) % smaller == 0:
            yield {step.lower: smaller, step.multiply: int(other) * value // smaller}


def _double(step: Step, checked: _Checked) -> Iterator[dict[str, Any]]:
    value = _number(checked, step.double)
    if value is not None and value > 0:
        yield {step.double: max(2 * value, step.at_least)}


def _number(checked: _Checked, path: str) -> int | float | None:
    value = nested.get(checked.spec, path)
    if schemas.at(checked.schema, path) is None or isinstance(value, bool) or numbers.finite(value) is None:
        return None
    return value if isinstance(value, (int, float)) else None


MAKERS: dict[str, Callable[[Step, _Checked], Iterator[dict[str, Any]]]] = {
    "lower": _lower,
    "double": _double,
    "set": _settings,
}
