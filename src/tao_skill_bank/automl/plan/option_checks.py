"""Checks options whose types are right: names, limits, contradictions, a password in a URL."""

import math
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

from tao_skill_bank.automl.plan.options import AutomlOptions, Endpoint, Range
from tao_skill_bank.bank.catalog import did_you_mean
from tao_skill_bank.core.redact import SECRET_NAME, without_secret
from tao_skill_bank.errors import Problem

LEAST = {"max_trials": 1, "parallel": 1, "seed": 0, "min_epochs": 1, "max_epochs": 1, "eta": 2, "repeats": 0}
ENDPOINT_LEAST = {"temperature": 0, "max_tokens": 1, "timeout_seconds": 0.1, "retries": 0, "attempts": 1}
BUDGETS = ("max_hours", "max_gpu_hours")
POSTGRESQL = ("postgresql", "postgresql+psycopg")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def problems(
    options: AutomlOptions, names: tuple[str, ...], language: tuple[str, ...], refused: tuple[str, ...]
) -> Iterator[Problem]:
    """Yield every mistake; `names` are all algorithms, `language` those that need an endpoint.

    `refused` are known names that are not offered: the reason is reported where the algorithm is built.
    """
    yield from _name_problems(options, names, language, refused)
    yield from _limit_problems(options)
    yield from _parameter_problems(options)
    for path, wanted in options.ranges.items():
        yield from _range_problems(f"automl.ranges.{path}", wanted)
    if options.storage is not None:
        yield from _storage_problems(options.storage)
    if options.endpoint is not None:
        yield from _endpoint_problems(options.endpoint)
        yield from _endpoint_limits(options.endpoint)


def _name_problems(
    options: AutomlOptions, names: tuple[str, ...], language: tuple[str, ...], refused: tuple[str, ...]
) -> Iterator[Problem]:
    for key, name in (("algorithm", options.algorithm), ("fallback", options.fallback)):
        if name is not None and name not in (*names, *(refused if key == "algorithm" else ())):
            message = f"automl.{key}: there is no algorithm '{name}'.{did_you_mean(name, names)}"
            fix = f"Use one of: {', '.join(names)}."
            yield Problem("unknown_algorithm", message, fix, f"automl.{key}", name)
    if options.algorithm in language and options.endpoint is None:
        message = f"automl.algorithm {options.algorithm} asks a language model, but no endpoint is named."
        fix = "Set automl.endpoint: {base_url: URL, model: NAME}, and api_key_variable where it needs a key."
        yield Problem("missing_endpoint", message, fix, "automl.endpoint")
    if options.fallback in language:
        message = f"automl.fallback {options.fallback} would ask the endpoint that failed."
        yield Problem("useless_fallback", message, "Use tpe or random.", "automl.fallback", options.fallback)
    if options.metric is not None and not all(part.strip() for part in options.metric.split(":")):
        fix = "Write a metric of metrics.jsonl, or ACTION:METRIC of an action that scores checkpoints."
        message = f"automl.metric '{options.metric}' names no metric."
        yield Problem("invalid_metric", message, fix, "automl.metric", options.metric)
    if "metric" not in options.objectives or len(set(options.objectives)) < len(options.objectives):
        message = "automl.objectives must hold metric, and each objective once."
        fix = "Set it to [metric] or [metric, cost]; omit it for the metric alone."
        yield Problem("invalid_objectives", message, fix, "automl.objectives")


def _limit_problems(options: AutomlOptions) -> Iterator[Problem]:
    for key, least in LEAST.items():
        value = getattr(options, key)
        if value is not None and value < least:
            message = f"automl.{key} is {value}; at least {least} is needed."
            yield Problem(
                "too_small", message, f"Set automl.{key} to {least} or more.", f"automl.{key}", value, f">= {least}"
            )
    for key in BUDGETS:
        value = getattr(options, key)
        if value is not None and not (value > 0 and math.isfinite(value)):
            message = f"automl.{key} is {value:g}: no trial could begin."
            fix = f"Set automl.{key} above 0, or omit it for no limit."
            yield Problem("no_budget", message, fix, f"automl.{key}", repr(value), "> 0")
    if options.noise is not None and not (options.noise >= 0 and math.isfinite(options.noise)):
        message = f"automl.noise is {options.noise:g}; it is how much scores differ by chance."
        yield Problem(
            "too_small", message, "Set automl.noise to 0 or more.", "automl.noise", repr(options.noise), ">= 0"
        )
    if options.min_epochs and options.max_epochs and options.min_epochs > options.max_epochs:
        message = f"automl.min_epochs {options.min_epochs} is above automl.max_epochs {options.max_epochs}."
        fix = f"Set automl.min_epochs to {options.max_epochs} or less."
        yield Problem("epochs_reversed", message, fix, "automl.min_epochs", options.min_epochs)


def _parameter_problems(options: AutomlOptions) -> Iterator[Problem]:
    if options.parameters is not None and not options.parameters:
        fix = "Omit automl.parameters for the skill's own choice, or turn the search off: --automl-policy off"
        yield Problem(
            "empty_space", "automl.parameters is empty: there is nothing to search.", fix, "automl.parameters"
        )
    named = {"parameters": options.parameters or (), "add": options.add, "ranges": tuple(options.ranges)}
    for key, paths in named.items():
        for path in dict.fromkeys(paths):
            if path in options.exclude:
                message = f"{path} is in automl.{key} and in automl.exclude."
                yield Problem("contradiction", message, "Remove it from one of them.", "automl.exclude", path)
    if options.parameters:
        for path in options.ranges:
            if path not in (*options.parameters, *options.add):
                message = f"automl.ranges has {path}, which automl.parameters leaves out."
                yield Problem("unused_range", message, f"Add {path} to automl.parameters.", f"automl.ranges.{path}")


def _range_problems(path: str, wanted: Range) -> Iterator[Problem]:
    bounds = [bound for bound in (wanted.minimum, wanted.maximum) if bound is not None]
    choices = wanted.choices
    if choices is not None and bounds:
        yield Problem("two_domains", f"{path} has bounds and choices.", "Keep one of them.", path)
    elif choices is None and not bounds:
        fix = "Write {minimum: A, maximum: B}, one of the two, or {choices: [A, B]}."
        yield Problem("no_domain", f"{path} has neither bounds nor choices.", fix, path)
    numbers = [*bounds, *(choice for choice in choices or () if isinstance(choice, float))]
    if not all(math.isfinite(number) for number in numbers):
        yield Problem("not_finite", f"{path} holds a number that is not finite.", "Use finite numbers.", path)
    elif len(bounds) == 2 and bounds[0] > bounds[1]:
        message = f"{path}: the minimum {bounds[0]:g} is above the maximum {bounds[1]:g}."
        yield Problem("bounds_reversed", message, "Exchange them.", path, bounds)
    if choices is not None:
        if not choices:
            yield Problem("no_domain", f"{path}.choices is empty.", "Name at least two values.", f"{path}.choices")
        elif len({(isinstance(choice, bool), choice) for choice in choices}) < len(choices):
            message = f"{path}.choices names a value twice."
            yield Problem("repeated_choice", message, "Name every value once.", f"{path}.choices", list(choices))


def _storage_problems(url: str) -> Iterator[Problem]:
    """Yield the problems of a URL, without repeating it: it may hold a password."""
    path = "automl.storage"
    parts = _split(url)
    if parts is None or parts.scheme not in POSTGRESQL or (not parts.hostname and "host=" not in parts.query):
        shown = f" '{parts.scheme}'" if parts and parts.scheme else ""
        message = f"automl.storage: only PostgreSQL can be named; this is{shown or ' not a URL of it'}."
        fix = "Write postgresql://USER@HOST:PORT/DATABASE, or omit it for SQLite in the run directory."
        yield Problem("unknown_storage", message, fix, path)
    if parts and _holds_password(parts):
        message = "automl.storage holds a password, which would be stored in the plan and in the job's record."
        fix = "Remove it, and export PGPASSWORD or write it into ~/.pgpass."
        yield Problem("secret_in_request", message, fix, path)


def _endpoint_problems(endpoint: Endpoint) -> Iterator[Problem]:
    path = "automl.endpoint"
    parts = _split(endpoint.base_url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        fix = "Write it as https://HOST/v1 or http://127.0.0.1:PORT/v1."
        yield Problem("invalid_url", f"{path}.base_url is not an http or https URL.", fix, f"{path}.base_url")
    if parts and (parts.username or _holds_password(parts)):
        message = f"{path}.base_url holds a credential."
        fix = f"Remove it, export it as an environment variable and name that in {path}.api_key_variable."
        yield Problem("secret_in_request", message, fix, f"{path}.base_url")
    if not endpoint.model.strip():
        fix = f"Set it to a model that {path}.base_url serves."
        yield Problem("missing_model", f"{path}.model is empty.", fix, f"{path}.model")
    variable = endpoint.api_key_variable
    if variable is not None and (not VARIABLE.fullmatch(variable) or without_secret(variable) is None):
        message = f"{path}.api_key_variable is not a name of an environment variable."
        fix = "Export the key, such as OPENAI_API_KEY, and write that name here."
        yield Problem("invalid_variable", message, fix, f"{path}.api_key_variable")


def _endpoint_limits(endpoint: Endpoint) -> Iterator[Problem]:
    for key, least in ENDPOINT_LEAST.items():
        value = getattr(endpoint, key)
        if value is not None and not (value >= least and math.isfinite(value)):
            path = f"automl.endpoint.{key}"
            message = f"{path} is {value:g}; at least {least:g} is needed."
            yield Problem("too_small", message, f"Set {path} to {least:g} or more.", path, repr(value), f">= {least:g}")


def _holds_password(parts: Any) -> bool:
    names = [name for name, _ in urllib.parse.parse_qsl(parts.query)]
    return parts.password is not None or any(SECRET_NAME.search(name) for name in names)


def _split(url: str) -> urllib.parse.SplitResult | None:
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port  # refuses a port that is not a number
    except ValueError:
        return None
    return parts
