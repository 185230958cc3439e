"""The inputs of a run: by name, from the command line or a file's defaults, each of its declared type."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.bank.catalog import did_you_mean
from tao_skill_bank.core import locations, numbers, yaml12
from tao_skill_bank.core.redact import secrets_used
from tao_skill_bank.errors import Problem, RequestError
from tao_skill_bank.workflows.declaration import InputField, Workflow

EXPECTED = {
    "path": "a path",
    "text": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "mapping": "a mapping, such as {PATH: VALUE}",
    "dataset": "the path of a dataset, or {annotation_path: FILE, media_path: FOLDER}",
}
DATASET = ("annotation_path", "media_path")
INTEGER = re.compile(r"[-+]?\d{1,19}")
WORDS = {"true": True, "false": False}


def values(workflow: Workflow, given: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """Return the value of every input.

    Args:
        workflow: declares the inputs.
        given: values by name; texts, as the command line gives them, or values of their type.
        folder: of the workflow file: a relative path that does not exist from here is looked for there.

    Raises:
        RequestError: inputs are missing, unknown or of another type; all of them are listed.

    """
    declared, problems = workflow.inputs, list(_unknown(workflow, given))
    found: dict[str, Any] = {}
    for name, field in declared.items():
        if name not in given and field.default is None:
            found[name] = None
            if field.required:
                what = f" ({field.description})" if field.description else ""
                message = f"The input {name} of {workflow.name} is missing{what}; it is {expected(field)}."
                problems.append(Problem("input_missing", message, f"Give it: --input {name}=VALUE", f"inputs.{name}"))
            continue
        value = _read(field, given.get(name, field.default))
        fault = fault_of(field, value)
        if fault:
            problems.append(Problem("input_invalid", f"The input {name} {fault}.", f"Give {expected(field)}.", name))
        else:
            found[name] = _converted(field, value, folder)
    for path, _ in secrets_used(found):
        message = f"The input {path} holds a credential, which would be written into the run folder."
        problems.append(Problem("secret_in_input", message, "Export it as an environment variable instead.", path))
    if problems:
        raise RequestError(problems)
    return found


def fault_of(field: InputField, value: Any) -> str:
    """Return what is wrong with a value, as "is ..."; empty for one of the input's type."""
    is_text = isinstance(value, str)
    valid = {
        "path": _is_path(value),
        "text": is_text,
        "choice": is_text and value in field.choices,
        "boolean": isinstance(value, bool) or (is_text and value in WORDS),
        "integer": (isinstance(value, int) and not isinstance(value, bool))
        or (is_text and bool(INTEGER.fullmatch(value))),
        "number": numbers.finite(value) is not None or (is_text and _number(value) is not None),
        "mapping": isinstance(value, dict),
        "dataset": _is_path(value) or (isinstance(value, dict) and set(value) == set(DATASET) and _are_paths(value)),
    }
    return "" if valid[field.type] else f"is {value!r}; expected {expected(field)}"


def expected(field: InputField) -> str:
    """Return what an input takes, in words."""
    return f"one of {', '.join(field.choices)}" if field.type == "choice" else EXPECTED[field.type]


def _unknown(workflow: Workflow, given: Mapping[str, Any]) -> Iterator[Problem]:
    for name in given:
        if name not in workflow.inputs:
            message = f"{workflow.name} has no input '{name}'.{did_you_mean(name, workflow.inputs)}"
            fix = f"Use one of: {', '.join(workflow.inputs) or 'none'}."
            yield Problem("input_unknown", message, fix, f"inputs.{name}", name)


def _read(field: InputField, value: Any) -> Any:
    """Return a value, of a text the mapping that it writes; one that is none is reported as it is."""
    is_mapping = isinstance(value, str) and (field.type == "mapping" or value.lstrip().startswith("{"))
    if field.type not in ("mapping", "dataset") or not is_mapping:
        return value
    try:
        return yaml12.parse(value, "the input")
    except RequestError:
        return value


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_paths(value: Mapping[str, Any]) -> bool:
    return all(_is_path(each) for each in value.values())


def _converted(field: InputField, value: Any, folder: Path | None) -> Any:
    if field.type == "path":
        return _path(value, folder)
    if field.type == "dataset":
        return (
            {key: _path(each, folder) for key, each in value.items()}
            if isinstance(value, dict)
            else _path(value, folder)
        )
    if field.type == "integer":
        return int(value)
    if field.type == "number":
        return _number(value) if isinstance(value, str) else value
    if field.type == "boolean":
        return WORDS.get(value, value) if isinstance(value, str) else value
    return value


def _path(text: str, folder: Path | None) -> str:
    if locations.is_uri(text):
        return text
    path = locations.absolute(text)
    next_to_file = locations.absolute(folder / text) if folder and not locations.is_here(path) else None
    return str(next_to_file if next_to_file and locations.is_here(next_to_file) else path)


def _number(text: str) -> float | None:
    try:
        return numbers.finite(float(text))
    except ValueError:
        return None
