"""What a request may say about its search (`automl:`), and every mistake in it at once."""

import json
import typing
from collections.abc import Iterator, Mapping
from dataclasses import field, fields
from typing import Any, Literal

import pydantic

from tao_skill_bank.automl import option_checks
from tao_skill_bank.catalog import did_you_mean
from tao_skill_bank.contracts import contract
from tao_skill_bank.errors import Problem, RequestError
from tao_skill_bank.redact import without_secret
from tao_skill_bank.skill_info import MonitoringMetric, SkillInfo

LANGUAGE_NAMES = ("llm", "hybrid", "autoresearch")  # ask an endpoint
CLASSICAL_NAMES = (
    "bayesian",
    "tpe",
    "bfbo",
    "random",
    "grid",
    "cmaes",
    "hyperband",
    "hyperband_es",
    "asha",
    "bohb",
    "pbt",
)
NAMES = (*CLASSICAL_NAMES, *LANGUAGE_NAMES)
REFUSED_NAMES = ("dehb",)  # `algorithms` says why
Direction = Literal["minimize", "maximize"]
Objective = Literal["metric", "cost"]
Scalar = bool | int | float | str


@contract
class Endpoint:
    """An OpenAI-compatible server. The key is read from the variable of that name, and only there.

    Attributes:
        base_url: of the server, such as https://HOST/v1.
        model: name of a model that it serves.
        api_key_variable: environment variable that holds the key; none for a server without keys.
        temperature: sent with every question; none for servers that refuse it.
        max_tokens: of a reply; none for servers that refuse it.
        timeout_seconds: longest wait for one reply.
        retries: further tries after a lost connection, a timeout or a busy server.
        attempts: replies that may be unusable before the model counts as failed.

    """

    base_url: str
    model: str
    api_key_variable: str | None = None
    temperature: float | None = 0.0
    max_tokens: int | None = 4096
    timeout_seconds: float = 120.0
    retries: int = 2
    attempts: int = 4


@contract
class Range:
    """The domain that a request gives a parameter: bounds, one of which may be left out, or the values to choose from.

    Numbers are values of the spec, both bounds included.

    Attributes:
        minimum: lowest value, inside the schema's bounds.
        maximum: highest value, inside the schema's bounds.
        choices: the only values that are tried, in place of bounds.

    """

    minimum: int | float | None = None
    maximum: int | float | None = None
    choices: tuple[Scalar, ...] | None = None


@contract
class AutomlOptions:
    """How a search is done. Every field has a default, so that `automl: {}` is a search.

    Attributes:
        algorithm: how points are proposed, and which trials may go on.
        max_trials: trainings that are begun at most, the recipe's included.
        parallel: trials that run at once, each on processes of its own.
        seed: of the algorithm; the same seed and the same scores give the same points.
        metric: a metric of metrics.jsonl, or ACTION:METRIC of an action that scores checkpoints; none for the skill's.
        direction: of a metric that is not the skill's own.
        parameters: spec paths that are searched, and no others; none for the schema's defaults.
        add: spec paths that are searched besides.
        exclude: spec paths that are not searched; a group stands for all that is in it.
        ranges: a domain by spec path, instead of the schema's and inside it.
        objectives: what is minimised; with cost, the metric and the GPU hours are weighed against each other.
        max_hours: on the clock, after which nothing is begun and what runs is stopped.
        max_gpu_hours: of all trials together, after which nothing is begun and what runs is stopped.
        min_epochs: the first rung of an algorithm that pauses trials; none for max_epochs / eta / eta.
        max_epochs: the last rung; none for the request's own epochs.
        eta: factor between two rungs.
        storage: none for SQLite in the run directory, or a postgresql:// URL without a password.
        endpoint: an OpenAI-compatible server, for the algorithms that ask a language model.
        fallback: the algorithm that goes on where the endpoint fails; none stops the search instead.
        noise: by how much a score has to be better for autoresearch; none for a hundredth of the recipe's.

    """

    algorithm: str = "bayesian"
    max_trials: int = 10
    parallel: int = 1
    seed: int = 0
    metric: str | None = None
    direction: Direction | None = None
    parameters: tuple[str, ...] | None = None
    add: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ranges: dict[str, Range] = field(default_factory=dict)
    objectives: tuple[Objective, ...] = ("metric",)
    max_hours: float | None = None
    max_gpu_hours: float | None = None
    min_epochs: int | None = None
    max_epochs: int | None = None
    eta: int = 3
    storage: str | None = None
    endpoint: Endpoint | None = None
    fallback: str | None = None
    noise: float | None = None


@contract
class Metric:
    """What trials are compared by. With an action, that action scores every checkpoint; without, the training does."""

    name: str
    direction: Direction
    action: str | None = None

    @property
    def title(self) -> str:
        """Its name as a request writes it."""
        return f"{self.action}:{self.name}" if self.action else self.name


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
    problems += [
        *option_checks.problems(options, NAMES, LANGUAGE_NAMES, REFUSED_NAMES),
        *_direction_problems(options, info),
    ]
    if problems:
        order = {name: index for index, name in enumerate(known)}
        raise RequestError(sorted(problems, key=lambda found: order.get(found.path.split(".")[1], -1)))
    return options


def metric_of(options: AutomlOptions, info: SkillInfo) -> Metric:
    """Return what trials are compared by.

    Raises:
        RequestError: neither the request nor the skill names a metric, or the action of the metric does not exist.

    """
    if options.metric is None:
        if info.monitoring_metric is None:
            message = "The skill names no metric to search by, and the request neither."
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
    """Return the metrics whose direction the skill says."""
    monitored: MonitoringMetric | None = info.monitoring_metric if info else None
    own: dict[str, Direction] = {monitored.name: monitored.direction} if monitored else {}
    evaluation = info.automl.evaluation if info and info.automl else None
    return own | ({f"{evaluation.action}:{evaluation.metric}": evaluation.direction} if evaluation else {})


def _direction_problems(options: AutomlOptions, info: SkillInfo | None) -> Iterator[Problem]:
    own = _own_metrics(info)
    if options.metric and options.direction is None and options.metric not in own:
        message = f"automl.metric is {options.metric}, and nothing says whether more of it is better."
        yield Problem("missing_direction", message, "Set automl.direction: minimize, or maximize.", "automl.direction")
    if options.direction and options.direction != own.get(options.metric or "", options.direction):
        message = (
            f"automl.direction is {options.direction}, but {options.metric} is one to {own[options.metric or '']}."
        )
        yield Problem("wrong_direction", message, "Leave automl.direction out.", "automl.direction", options.direction)


def _unknown(key: str, known: Mapping[str, Any], prefix: str = "automl") -> Problem:
    hint = did_you_mean(key, known)
    fix = f"Write it as {hint.split(chr(39))[1]}." if hint else f"Use one of: {', '.join(known)}."
    return Problem("unknown_option", f"There is no option {prefix}.{key}.{hint}", fix, f"{prefix}.{key}")


def _typed(value: Any, kind: Any) -> Any:
    return pydantic.TypeAdapter(kind).validate_json(json.dumps(value, default=str), strict=True)


def _type_problems(key: str, error: pydantic.ValidationError, known: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield one problem per wrong place; a union's branches all complain of the same one."""
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
