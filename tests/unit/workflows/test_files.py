"""A workflow file that is wrong is refused with every problem at once, each with its place and fix."""

import copy

import pytest
from workflow_runs import EVALUATE, TRAIN, two_steps, write

from tao_skill_bank.bank import catalog
from tao_skill_bank.errors import RequestError, UnknownNameError
from tao_skill_bank.workflows import files

UNEXPECTED = "invalid_unexpected_keyword_argument"
WHEN = {"value": "scoring.steps"}
COMPARE = {"before": "${training.job}", "after": "${scoring.job}"}


def problems(document):
    with pytest.raises(RequestError) as caught:
        files.parse(document, "flow.yaml")
    assert all(problem.fix and problem.message for problem in caught.value.problems)
    return {problem.code: problem for problem in caught.value.problems}


def with_step(**step):
    document = two_steps()
    document["steps"].append({"name": "last", **step})
    return document


@pytest.mark.usefixtures("third_skill")
@pytest.mark.parametrize(
    ("step", "code", "words"),
    [
        ({"repeat": {"steps": [{"name": "a", "request": EVALUATE}]}}, "loop_without_bound", "at_most"),
        ({"repeat": {"at_most": 0, "steps": [{"name": "a", "request": EVALUATE}]}}, "invalid_bound", "above 0"),
        ({"repeat": {"at_most": "$no", "steps": [{"name": "a", "request": EVALUATE}]}}, "invalid_bound", "input"),
        ({"repeat": {"at_most": 1, "steps": []}}, "loop_empty", "Add steps"),
        ({"repeat": {"at_most": 1, "steps": [{"name": "a", "repeat": {}}]}}, "loop_in_loop", "one loop"),
        ({"request": {"skill": "toyy", "action": "train", "automl_policy": "off"}}, "unknown_skill", "tao-skills list"),
        ({"request": {"skill": "toy", "action": "trane"}}, "unknown_action", "train, evaluate"),
        ({"request": {"skill": "toy", "action": "train"}}, "policy_missing", "automl_policy"),
        ({"request": {**TRAIN, "overrides": {"train.epcoh": 2}}}, "unknown_parameter", "train.epoch"),
        ({"request": {**TRAIN, "overrides": {"train.epoch": "many"}}}, "invalid_type", "train.epoch"),
        ({"request": {**EVALUATE, "results_dir": "x"}}, "set_by_engine", "Remove"),
        ({"parent": "training", "request": {**EVALUATE, "parent_job_id": "x"}}, "given_twice", "one of them"),
        ({"stage": "comparee"}, "unknown_stage", "compare"),
        ({"stage": "compare", "arguments": {**COMPARE, "metrik": "x"}}, UNEXPECTED, "metric"),
        ({"stage": "compare", "arguments": {"before": "a"}}, "invalid_missing", "after"),
        ({"stage": "compare", "arguments": COMPARE, "parent": "training"}, "parent_of_stage", "Remove"),
        ({"request": EVALUATE, "arguments": {"a": 1}}, "arguments_unused", "stage"),
        ({"request": EVALUATE, "stage": "compare"}, "step_kind", "exactly one"),
        ({}, "step_kind", "exactly one"),
        ({"stop": "enough"}, "stop_without_when", "when"),
        ({"request": {**EVALUATE, "overrides": {"eval_dir": "$data"}}}, "unknown_variable", "inputs"),
        ({"request": {**EVALUATE, "overrides": {"eval_dir": "${scoring.metrik.x}"}}}, "unknown_output", "metrics"),
        ({"request": {**EVALUATE, "overrides": {"eval_dir": "${scorign.folder}"}}}, "unknown_step", "scoring"),
        ({"request": {**EVALUATE, "overrides": {"eval_dir": "a ${} b"}}}, "invalid_reference", "$NAME"),
        ({"request": EVALUATE, "parent": "last"}, "workflow_cycle", "?}"),
        ({"request": EVALUATE, "when": {**WHEN, "op": "<", "constant": "x"}}, "invalid_condition", "=="),
        ({"request": EVALUATE, "when": {**WHEN, "op": "in", "constant": 3}}, "invalid_condition", "["),
        ({"request": EVALUATE, "when": {**WHEN, "op": "~", "constant": 3}}, "invalid_literal_error", "op"),
        ({"requst": EVALUATE}, "unknown_key", "name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_wrong_step_is_refused(step, code, words):
    problem = problems(with_step(**step))[code]
    assert words in problem.fix or words in problem.message
    assert "last" in problem.message or "last" in problem.path or "'a'" in problem.message


@pytest.mark.usefixtures("third_skill")
def test_every_problem_is_listed_at_once():
    document = two_steps(
        inputs={"epochs": {"type": "integer", "default": "two"}, "mode": {"type": "choice"}},
        limits={"gpu_hours": -1, "hosts": ["$nobody"]},
    )
    document["steps"] += [copy.deepcopy(document["steps"][0]), {"name": "early", "parent": "late", "request": EVALUATE}]
    document["steps"] += [{"name": "late", "parent": "training", "request": EVALUATE}, {"name": "x", "requst": 1}]
    expected = {"duplicate_step", "invalid_input", "invalid_bound", "unknown_variable", "later_step", "unknown_key"}
    assert set(problems(document)) == expected


@pytest.mark.parametrize("document", [None, [], {"name": "x"}, {"name": "x", "steps": 3}])
def test_what_is_not_a_workflow_is_refused(document):
    assert "invalid_workflow" in problems(document)


def test_a_step_that_is_broken_hides_nothing_of_the_others_and_is_not_reported_twice():
    document = {
        "name": "x",
        "steps": [
            {"name": "first", "requst": {}},
            {"name": "last", "stage": "compare", "arguments": {"before": "${first.job}", "after": "$b"}},
        ],
    }
    assert set(problems(document)) == {"unknown_key", "unknown_variable"}


def test_the_workflows_of_the_bank_are_found_by_name_and_valid():
    assert {"predict_adapters", "train_evaluate"} <= set(files.names())
    for name in files.names():
        assert files.load(name).workflow.description
    with pytest.raises(UnknownNameError, match="Did you mean 'train_evaluate'"):
        files.load("train_evaluat")


def test_the_published_schema_accepts_the_workflows_of_the_bank_and_no_unknown_key(tmp_path):
    import json

    from jsonschema import Draft202012Validator

    schema = json.loads((catalog.bank_root() / "schemas" / "workflow.schema.json").read_text())
    validator = Draft202012Validator(schema)
    for name in files.names():
        validator.validate(files.load(name).document)
    assert not validator.is_valid({"name": "x", "steps": [{"name": "a", "requst": {}}]})
    write(tmp_path)
