"""Schema violations as problems: path, got, expected, fix and the nearest valid name.

A request and a config file are checked here alike. What a spec dataclass cannot say of a single field (exactly one of,
only together) is in its schema alone, so that the schema decides, and the dataclass only holds what it let through.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank import violation_fixes
from tao_skill_bank.bank.validator import validator
from tao_skill_bank.core.redact import SECRET_NAME, redacted, without_secret
from tao_skill_bank.errors import Problem

if TYPE_CHECKING:
    import jsonschema


def violations(schema: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every violation of the schema once, by path."""
    seen: set[tuple[str, str]] = set()
    for error in sorted(
        validator(schema).iter_errors(spec), key=lambda found: [str(part) for part in found.absolute_path]
    ):
        for problem in _problems(schema, error):
            if (problem.code, problem.path) not in seen:
                seen.add((problem.code, problem.path))
                yield violation_fixes.with_overrides(schema, spec, problem)


def _problems(schema: Mapping[str, Any], error: "jsonschema.ValidationError") -> Iterator[Problem]:
    path = ".".join(str(part) for part in error.absolute_path)
    special = {
        "additionalProperties": _unknown_keys,
        "required": _missing_key,
        "oneOf": _not_exactly_one,
        "dependentRequired": _not_together,
    }
    if error.validator == "oneOf" and not isinstance(error.instance, Mapping):
        return  # a value where a group belongs, of which its type says so already
    if error.validator in special:
        yield from special[str(error.validator)](schema, error, path)
        return
    leaf = cast(Mapping[str, Any], error.schema)
    if "properties" in leaf:
        yield not_a_group(path, error.instance)
        return
    expected = schemas.expectation(leaf)
    if error.instance == "":
        yield _empty(path, expected)
        return
    why = f" {leaf['description']}" if _has_one_value(leaf) and "description" in leaf else ""
    yield Problem(
        code=f"invalid_{_snake(str(error.validator))}",
        message=f"{path} is {_short(error.instance)}; expected {expected}.{why}",
        fix=f"Set {path} to {expected}{_quoted(path, leaf, error)}.",
        path=path,
        got=_got(error.instance),
        expected=expected,
    )


def _empty(path: str, expected: str) -> Problem:
    """Return the problem of an empty text where another value belongs, such as that of an unset shell variable."""
    fix = f"Set {path} to {expected}, or delete the key: --set {path}=null"
    return Problem("empty_value", f"{path} is empty; expected {expected}.", fix, path, "", expected, {path: None})


def not_a_group(path: str, value: Any) -> Problem:
    """Return the problem of a value where a group of parameters belongs."""
    if value == "":
        return _empty(path, f"{path}.NAME=VALUE")
    message = f"{path} is a group of parameters, not a value."
    fix = f"Set {path}.NAME, or leave {path} out."
    return Problem("invalid_type", message, fix, path, _got(value), f"{path}.NAME=VALUE", {path: None})


def _quoted(path: str, leaf: Mapping[str, Any], error: "jsonschema.ValidationError") -> str:
    """Return how a text is written that YAML reads as something else."""
    takes_text = leaf.get("type") == "string" and "enum" not in leaf
    return (
        f"; quote a text that is also YAML: --set {path}='\"TEXT\"'" if takes_text and error.validator == "type" else ""
    )


def _has_one_value(leaf: Mapping[str, Any]) -> bool:
    """Return whether a number can have only one value; its description says why."""
    return "minimum" in leaf and leaf["minimum"] == leaf.get("maximum")


def _unknown_keys(schema: Mapping[str, Any], error: Any, path: str) -> Iterator[Problem]:
    known = [leaf for leaf, _ in schemas.parameters(schema)]
    for key in error.instance:
        if key not in error.schema.get("properties", {}):
            full = f"{path}.{key}" if path else key
            nearest = nearest_path(full, known)
            hint = f" Did you mean {nearest}?" if nearest else ""
            yield Problem(
                code="unknown_parameter",
                message=f"There is no parameter {full}.{hint}",
                fix=f"Use {nearest}." if nearest else f"Remove {full}.",
                path=full,
                got=None if SECRET_NAME.search(key) else _got(error.instance[key]),
                expected=nearest,
            )


def _missing_key(schema: Mapping[str, Any], error: Any, path: str) -> Iterator[Problem]:
    for key in error.schema["required"]:
        if key not in error.instance:
            full = f"{path}.{key}" if path else key
            child = schemas.at(schema, full) or {}
            yield Problem(
                code="missing_parameter",
                message=f"{full} is required: {child.get('description', '')}",
                fix=f"Set {full}.",
                path=full,
                expected=schemas.expectation(child),
            )


def _not_exactly_one(_schema: Mapping[str, Any], error: Any, path: str) -> Iterator[Problem]:
    names = [branch["required"][0] for branch in error.schema["oneOf"]]
    prefix = f"{path}." if path else ""
    present = [name for name in names if name in error.instance]
    state = f"{' and '.join(present)} are both set" if present else "none of them is set"
    yield Problem(
        code="not_exactly_one",
        message=f"Exactly one of {', '.join(prefix + name for name in names)} is needed; {state}.",
        fix=f"Remove one: --set {prefix}{names[-1]}=null" if present else f"Set {prefix}{names[0]}.",
        path=path,
        got=_got({name: error.instance[name] for name in present}),
        expected=f"exactly one of {', '.join(names)}",
    )


def _not_together(_schema: Mapping[str, Any], error: Any, path: str) -> Iterator[Problem]:
    for name, others in error.schema["dependentRequired"].items():
        missing = [other for other in others if other not in error.instance]
        if name in error.instance and missing:
            yield Problem(
                code="not_together",
                message=f"{path}.{name} is set without {', '.join(missing)}.",
                fix=f"Set {path}.{missing[0]} too, or remove {path}.{name}.",
                path=f"{path}.{name}",
                got=_got(error.instance[name]),
                expected=f"together with {', '.join(missing)}",
            )


def nearest_path(path: str, known: list[str]) -> str | None:
    """Return the known dotted path closest to an unknown one, by spelling or by its last component."""
    close = difflib.get_close_matches(path, known, n=1, cutoff=0.75)
    if close:
        return close[0]
    last = path.rpartition(".")[2]
    by_last = {candidate.rpartition(".")[2]: candidate for candidate in reversed(known)}
    words = difflib.get_close_matches(last, by_last, n=1, cutoff=0.8)
    return by_last[words[0]] if words else None


def _got(value: Any) -> Any:
    """Return a value as JSON can hold it: an infinity is its name."""
    return json.loads(json.dumps(without_secret(value)), parse_constant=str)


def _short(value: Any) -> str:
    text = redacted(repr(value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
