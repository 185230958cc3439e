"""Declared workflows: named steps, each an ordinary request, run one after the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from string import Template
from typing import Any

from tao_skill_bank.bank.catalog import bank_root
from tao_skill_bank.contracts import Request, from_json
from tao_skill_bank.core import yaml12
from tao_skill_bank.errors import RequestError, UnknownNameError


@dataclass(frozen=True)
class Step:
    """One request of a workflow; `parent` is the step whose job provides its checkpoint."""

    name: str
    request: Request
    parent: str | None = None

    def with_parent_job(self, jobs: Mapping[str, str]) -> Request:
        """Return the request with the parent step's job id filled in."""
        return replace(self.request, parent_job_id=jobs[self.parent]) if self.parent else self.request


def load(name: str, variables: Mapping[str, str]) -> Iterator[Step]:
    """Yield the steps of workflow/<name>.yaml with its variables filled in.

    Raises:
        UnknownNameError: no such workflow.
        RequestError: a variable is missing, or a step is not a request.
    """
    path = bank_root() / "workflow" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise UnknownNameError.of("unknown_workflow", f"There is no workflow '{name}'.", f"Use one of: {known}.")
    document = _filled(yaml12.read(path), variables, str(path))
    for step in document["steps"]:
        yield Step(step["name"], from_json(Request, step["request"], f"{path}: {step['name']}"), step.get("parent"))


def _filled(value: Any, variables: Mapping[str, str], source: str) -> Any:
    """Return the tree with `$name` replaced; a value that is a single variable is parsed as YAML."""
    if isinstance(value, dict):
        return {key: _filled(child, variables, source) for key, child in value.items()}
    if isinstance(value, list):
        return [_filled(child, variables, source) for child in value]
    if not (isinstance(value, str) and "$" in value):
        return value
    try:
        text = Template(value).substitute(variables)
    except (KeyError, ValueError) as error:
        message = f"{source}: the variable in '{value}' is not given: {error}"
        raise RequestError.of("missing_variable", message, "Give every variable of the workflow.", path=value) from None
    return yaml12.parse_value(text, source) if value.startswith("$") and value[1:].isidentifier() else text
