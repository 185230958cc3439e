"""Reads the search options of a request, and reports every mistake in them at once."""

import json
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, Literal

import pydantic

from tao_skill_bank.automl.plan import option_checks
from tao_skill_bank.automl.plan.options import (
    LANGUAGE_NAMES,
    NAMES,
    REFUSED_NAMES,
    AutomlOptions,
    Direction,
    Endpoint,
    Metric,
    Range,
)
from tao_skill_bank.bank.catalog import did_you_mean
from tao_skill_bank.bank.skill_info import SkillInfo
from tao_skill_bank.contracts import MonitoringMetric
from tao_skill_bank.core.redact import without_secret
from tao_skill_bank.errors import Problem, RequestError

MISSING_DIRECTION = "missing_direction"


def parse(raw: Mapping[str, Any], info: SkillInfo | None = None) -> AutomlOptions:
    """Read the options of a request.

    Args:
        raw: `Request.automl`.
        info: the skill's facts, by which the direction of its own metrics is known.

    Raises:
        RequestError: every mistake, with the path `automl.KEY`.

    """
    known = typing.get_type_hints(AutomlOptions)
    problems = [_unknown(str(key), known) for key in raw if key not in known]
    values: dict[str, Any] = {}
    for key in raw.keys() & known.keys():
        try:
            values[key] = _typed(raw[key], known[key])
        except pydantic.ValidationError as error:
            problems += _type_problems(key, error, known)
    options = AutomlOptions(**values)
    if options.keep_trials is None:
        options = replace(options, keep_trials="best")
    problems += [
        *option_checks.problems(options, NAMES, LANGUAGE_NAMES, REFUSED_NAMES),
        *_direction_problems(options, info),
    ]
    if problems:
        order = {name: index for index, name in enumerate(known)}
        raise RequestError(sorted(problems, key=lambda found: order.get(found.path.split(".")[1], -1)))
    return options


def metric_of(options: AutomlOptions, info: SkillInfo) -> Metric:
    """Return the metric by which trials are compared.

    Raises:
        RequestError: neither the request nor the skill names a metric, or the action of the metric does not exist.

    """
    if options.metric is None:
        if info.monitoring_metric is None:
            message = "Neither the skill nor the request names a metric to search by."
            fix = "Set automl.metric to a metric of metrics.jsonl, and automl.direction to minimize or maximize."
            raise RequestError.of("missing_metric", message, fix, path="automl.metric")
        return Metric(info.monitoring_metric.name, options.direction or info.monitoring_metric.direction)
    if problems := list(_direction_problems(options, info)):
        raise RequestError(problems)
    action, separator, name = options.metric.partition(":")
    if separator and action not in info.actions:
        message = f"automl.metric: the skill has no action '{action}'.{did_you_mean(action, info.actions)}"
        fix = f"Use one of: {', '.join(info.actions)}."
        raise RequestError.of("unknown_action", message, fix, path="automl.metric", got=options.metric)
    direction = options.direction or _own_metrics(info)[options.metric]
    return Metric(name, direction, action) if separator else Metric(options.metric, direction)


def _own_metrics(info: SkillInfo | None) -> dict[str, Direction]:
    """Return the metrics whose direction the skill declares."""
    monitored: MonitoringMetric | None = info.monitoring_metric if info else None
    own: dict[str, Direction] = {monitored.name: monitored.direction} if monitored else {}
    evaluation = info.automl.evaluation if info and info.automl else None
    return own | ({f"{evaluation.action}:{evaluation.metric}": evaluation.direction} if evaluation else {})


def _direction_problems(options: AutomlOptions, info: SkillInfo | None) -> Iterator[Problem]:
    own = _own_metrics(info)
    if options.metric and options.direction is None and options.metric not in own:
        message = f"automl.metric is {options.metric}, and it is not known whether higher is better."
        yield Problem(MISSING_DIRECTION, message, "Set automl.direction: minimize, or maximize.", "automl.direction")
    if options.direction and options.direction != own.get(options.metric or "", options.direction):
        message = (
            f"automl.direction is {options.direction}, but {options.metric} is one to {own[options.metric or '']}."
        )
        yield Problem("wrong_direction", message, "Omit automl.direction.", "automl.direction", options.direction)


def _unknown(key: str, known: Mapping[str, Any], prefix: str = "automl") -> Problem:
    hint = did_you_mean(key, known)
    fix = f"Write it as {hint.split(chr(39))[1]}." if hint else f"Use one of: {', '.join(known)}."
    return Problem("unknown_option", f"There is no option {prefix}.{key}.{hint}", fix, f"{prefix}.{key}")


def _typed(value: Any, kind: Any) -> Any:
    return pydantic.TypeAdapter(kind).validate_json(json.dumps(value, default=str), strict=True)


def _type_problems(key: str, error: pydantic.ValidationError, known: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield one problem per wrong place; all branches of a union report the same one."""
    seen: set[str] = set()
    for detail in error.errors(include_url=False):
        where = [str(part) for part in detail["loc"]]
        path = ".".join(("automl", key, *where))
        if detail["type"] == "unexpected_keyword_argument":
            kind = Range if key == "ranges" else Endpoint
            yield _unknown(where[-1], {part.name: None for part in fields(kind)}, path.rpartition(".")[0])
        elif path not in seen and not any(path.startswith(f"{other}.") for other in seen):
            seen.add(path)
            message = f"{path}: {detail['msg'][0].lower()}{detail['msg'][1:]}."
            fix = (
                f"Set {path} to {_in_words(known[key])}." if not where else f"Correct {path}: {detail['msg'].lower()}."
            )
            got = detail["input"] if isinstance(detail["input"], (str, int, float, bool)) else None
            yield Problem(f"invalid_{detail['type']}", message, fix, path, without_secret(got))


def _in_words(kind: Any) -> str:
    """Return in words what an option accepts."""
    if literal := [value for value in typing.get_args(kind) if typing.get_origin(value) is Literal]:
        return " or ".join(typing.get_args(literal[0]))
    words = {"int": "a whole number", "float": "a number", "str": "a text", "tuple": "a list", "dict": "a mapping"}
    named = [word for name, word in words.items() if name in str(kind)]
    return named[-1] if named else "a mapping with base_url, model and api_key_variable"
