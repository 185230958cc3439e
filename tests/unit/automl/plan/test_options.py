from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_spaces import UNHURRIED

from tao_skill_bank.automl.plan import option_reader, options
from tao_skill_bank.automl.plan.options import AutomlOptions, Endpoint, Metric, Range
from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import from_json, to_json
from tao_skill_bank.errors import Problem, RequestError

REASON = catalog.find("tao-finetune-cosmos-reason").info
PREDICT = catalog.find("tao-finetune-cosmos-predict").info
SERVER = {"base_url": "http://127.0.0.1:8000/v1", "model": "m"}


def problems(raw: dict[str, Any]) -> tuple[Problem, ...]:
    with pytest.raises(RequestError) as caught:
        option_reader.parse(raw)
    return caught.value.problems


def test_a_request_that_says_nothing_is_a_search_of_ten_trials_one_after_the_other() -> None:
    parsed = option_reader.parse({})
    assert parsed == AutomlOptions(keep_trials="best")
    assert (parsed.algorithm, parsed.max_trials, parsed.parallel, parsed.storage) == ("bayesian", 10, 1, None)


def test_every_option_is_read_and_survives_a_sealed_plan() -> None:
    raw = {
        "algorithm": "hybrid",
        "max_trials": 60,
        "parallel": 4,
        "seed": 7,
        "metric": "train/loss_avg",
        "direction": "minimize",
        "parameters": ["train.optm_lr", "policy.lora.r"],
        "ranges": {"train.optm_lr": {"minimum": 1e-6, "maximum": 1e-4}, "policy.lora.r": {"choices": [8, 16]}},
        "objectives": ["metric", "cost"],
        "max_hours": 2,
        "max_gpu_hours": 12.5,
        "min_epochs": 1,
        "max_epochs": 9,
        "eta": 2,
        "storage": "postgresql://tuner@db.example:5432/studies",
        "endpoint": {**SERVER, "api_key_variable": "OPENAI_API_KEY"},
        "fallback": "tpe",
    }
    parsed = option_reader.parse(raw)
    assert parsed.ranges == {"train.optm_lr": Range(1e-6, 1e-4), "policy.lora.r": Range(choices=(8, 16))}
    assert parsed.endpoint == Endpoint("http://127.0.0.1:8000/v1", "m", "OPENAI_API_KEY")
    assert parsed.max_hours == 2.0
    assert from_json(AutomlOptions, to_json(parsed), "plan") == parsed


@pytest.mark.parametrize("name", options.NAMES)
def test_every_algorithm_can_be_named(name: str) -> None:
    raw: dict[str, Any] = {"algorithm": name}
    assert option_reader.parse(raw | ({"endpoint": SERVER} if name in options.LANGUAGE_NAMES else {})).algorithm == name


@pytest.mark.parametrize(
    ("raw", "code", "path", "part"),
    [
        ({"paralel": 2}, "unknown_option", "automl.paralel", "Did you mean 'parallel'?"),
        ({"algorithm": "bayesain"}, "unknown_algorithm", "automl.algorithm", "Did you mean 'bayesian'?"),
        ({"fallback": "randm"}, "unknown_algorithm", "automl.fallback", "Did you mean 'random'?"),
        ({"max_trials": 0}, "too_small", "automl.max_trials", "at least 1"),
        ({"parallel": -1}, "too_small", "automl.parallel", "at least 1"),
        ({"eta": 1}, "too_small", "automl.eta", "at least 2"),
        ({"seed": -1}, "too_small", "automl.seed", "at least 0"),
        ({"max_trials": True}, "invalid_int_type", "automl.max_trials", "integer"),
        ({"max_trials": "10"}, "invalid_int_type", "automl.max_trials", "integer"),
        ({"max_hours": 0}, "no_budget", "automl.max_hours", "no trial"),
        ({"max_gpu_hours": -2.5}, "no_budget", "automl.max_gpu_hours", "no trial"),
        ({"max_gpu_hours": float("nan")}, "no_budget", "automl.max_gpu_hours", "no trial"),
        ({"max_hours": float("inf")}, "no_budget", "automl.max_hours", "inf"),
        ({"min_epochs": 5, "max_epochs": 2}, "epochs_reversed", "automl.min_epochs", "above"),
        ({"parameters": []}, "empty_space", "automl.parameters", "nothing to search"),
        ({"parameters": "train.optm_lr"}, "invalid_tuple_type", "automl.parameters", "valid array"),
        ({"add": ["a"], "exclude": ["a"]}, "contradiction", "automl.exclude", "automl.add"),
        ({"parameters": ["a"], "ranges": {"b": {"minimum": 1}}}, "unused_range", "automl.ranges.b", "leaves out"),
        ({"ranges": {"a": {}}}, "no_domain", "automl.ranges.a", "neither bounds nor choices"),
        ({"ranges": {"a": {"choices": []}}}, "no_domain", "automl.ranges.a.choices", "empty"),
        ({"ranges": {"a": {"choices": [1, 1.0]}}}, "repeated_choice", "automl.ranges.a.choices", "twice"),
        ({"ranges": {"a": {"minimum": 3, "maximum": 2}}}, "bounds_reversed", "automl.ranges.a", "above"),
        ({"ranges": {"a": {"minimum": 1, "choices": [2]}}}, "two_domains", "automl.ranges.a", "choices"),
        ({"ranges": {"a": {"maximum": float("inf")}}}, "not_finite", "automl.ranges.a", "finite"),
        ({"ranges": {"a.b": {"min": 1, "maximum": 2}}}, "unknown_option", "automl.ranges.a.b.min", "'minimum'"),
        ({"ranges": {"a.b": [1, 2]}}, "invalid_dataclass_type", "automl.ranges.a.b", "an object"),
        ({"metric": "loss"}, "missing_direction", "automl.direction", "higher is better"),
        ({"metric": "evaluate:", "direction": "maximize"}, "invalid_metric", "automl.metric", "no metric"),
        ({"direction": "up"}, "invalid_literal_error", "automl.direction", "minimize"),
        ({"objectives": ["time"]}, "invalid_literal_error", "automl.objectives.0", "cost"),
        ({"objectives": ["cost"]}, "invalid_objectives", "automl.objectives", "must hold metric"),
        ({"objectives": ["metric", "metric"]}, "invalid_objectives", "automl.objectives", "once"),
        ({"storage": "mysql://u@h/d"}, "unknown_storage", "automl.storage", "only PostgreSQL"),
        ({"storage": "postgresql:///studies"}, "unknown_storage", "automl.storage", "only PostgreSQL"),
        ({"algorithm": "llm"}, "missing_endpoint", "automl.endpoint", "no endpoint"),
        ({"endpoint": {"base_url": "http://h/v1"}}, "invalid_missing", "automl.endpoint.model", "required"),
        ({"endpoint": {**SERVER, "base_url": "h:80"}}, "invalid_url", "automl.endpoint.base_url", "http"),
        ({"endpoint": {**SERVER, "model": " "}}, "missing_model", "automl.endpoint.model", "empty"),
        ({"endpoint": {**SERVER, "key": "k"}}, "unknown_option", "automl.endpoint.key", "no option"),
        ({"endpoint": SERVER, "fallback": "llm"}, "useless_fallback", "automl.fallback", "failed"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_its_fix(raw: dict[str, Any], code: str, path: str, part: str) -> None:
    (found,) = problems(raw)
    assert (found.code, found.path) == (code, path)
    assert part in found.message
    assert found.fix


def test_all_mistakes_are_reported_together_in_the_order_of_the_options() -> None:
    raw = {"eta": 1, "max_trials": 0, "algorithm": "asah", "storage": "postgresql://u:pw@h/d", "ranges": {"a": {}}}
    assert [found.path for found in problems(raw)] == [
        "automl.algorithm",
        "automl.max_trials",
        "automl.ranges.a",
        "automl.eta",
        "automl.storage",
    ]


@pytest.mark.parametrize(
    "raw",
    [
        {"storage": "postgresql://tuner:hunter2@db/studies"},
        {"storage": "postgresql://tuner@db/studies?password=hunter2"},
        {"endpoint": {**SERVER, "base_url": "https://me:hunter2@h/v1"}},
        {"endpoint": {**SERVER, "api_key_variable": "hunter2 and more"}},
        {"endpoint": {**SERVER, "api_key_variable": "sk-hunter2hunter2hunter2"}},
        {"storage": "mysql://tuner:hunter2@db/studies"},
    ],
)
def test_a_credential_is_refused_and_never_repeated(raw: dict[str, Any]) -> None:
    found = problems(raw)
    assert {problem.code for problem in found} & {"secret_in_request", "invalid_variable"}
    assert "hunter2" not in repr(found)


def test_a_socket_of_postgresql_needs_no_host_name() -> None:
    assert option_reader.parse({"storage": "postgresql:///studies?host=/run/postgresql"}).storage


def test_the_metric_is_the_skills_unless_the_request_names_another() -> None:
    assert option_reader.metric_of(option_reader.parse({}), REASON) == Metric("val/avg_loss", "minimize")
    other = option_reader.parse({"metric": "train/loss_avg", "direction": "minimize"})
    assert option_reader.metric_of(other, REASON) == Metric("train/loss_avg", "minimize")
    scored = option_reader.parse({"metric": "evaluate:f1", "direction": "maximize"})
    assert option_reader.metric_of(scored, REASON) == Metric("f1", "maximize", "evaluate")


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("evaluate:accuracy", Metric("accuracy", "maximize", "evaluate")),
        ("val/avg_loss", Metric("val/avg_loss", "minimize")),
    ],
)
def test_the_direction_of_the_skills_own_metrics_is_known(metric: str, expected: Metric) -> None:
    assert option_reader.metric_of(option_reader.parse({"metric": metric}, REASON), REASON) == expected
    wrong = {"minimize": "maximize", "maximize": "minimize"}[expected.direction]
    with pytest.raises(RequestError) as caught:
        option_reader.parse({"metric": metric, "direction": wrong}, REASON)
    assert caught.value.problems[0].code == "wrong_direction"


def test_a_metric_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(RequestError) as unknown:
        option_reader.metric_of(option_reader.parse({"metric": "evalute:accuracy", "direction": "maximize"}), REASON)
    assert "Did you mean 'evaluate'?" in unknown.value.problems[0].message
    with pytest.raises(RequestError) as undirected:
        option_reader.metric_of(AutomlOptions(metric="evaluate:accuracy"), PREDICT)
    assert undirected.value.problems[0].code == "missing_direction"
    with pytest.raises(RequestError) as nameless:
        option_reader.metric_of(AutomlOptions(), replace(REASON, monitoring_metric=None))
    assert nameless.value.problems[0].code == "missing_metric"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("abe:/@. -1", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abe:/@. -1", max_size=8), inner, max_size=3),
    max_leaves=6,
)


@UNHURRIED
@given(st.dictionaries(st.sampled_from([*AutomlOptions.__dataclass_fields__, "other"]), JSON, max_size=4))
def test_whatever_a_request_says_is_read_or_refused_with_a_fix(raw: dict[str, Any]) -> None:
    found: tuple[Problem, ...] = ()
    try:
        option_reader.parse(raw)
    except RequestError as error:
        found = error.problems
    assert all(problem.fix and problem.path.startswith("automl.") for problem in found)
    assert found or set(raw) <= AutomlOptions.__dataclass_fields__.keys()
