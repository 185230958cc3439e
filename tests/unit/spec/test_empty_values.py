"""An empty value means itself: text where text may be empty, else a mistake with the command that deletes the key."""

from typing import Any

import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.violations import violations
from tao_skill_bank.cli.request_options import Options, to_request
from tao_skill_bank.contracts import Request
from tao_skill_bank.core import nested
from tao_skill_bank.errors import RequestError
from tao_skill_bank.spec import build as spec

REASON, PREDICT = "tao-finetune-cosmos-reason", "tao-finetune-cosmos-predict"
ACTIONS = [(name, action) for name in (REASON, PREDICT) for action in catalog.find(name).info.actions]
MAY_BE_EMPTY = {
    "prefix",
    "test_folder",
    "negative_prompt",
    "caption_prefix",
    "system_prompt",
    "save_folder",
    "tokenizer_model_name",
    "base_model_path",
    "evaluation.vllm.model",
    "train.train_policy.dataset.name",
    "task.type",
    "api_key_variable",
}


def prepare(*sets: str, **fields: Any) -> spec.Spec:
    options = Options(PREDICT, "prepare", sets=sets, datasets=("train=/clips",), fields=tuple(fields.items()))
    return spec.build(catalog.find(PREDICT), to_request(options))


@pytest.mark.parametrize("written", ["prefix=", 'prefix=""', "prefix=''"])
def test_an_empty_value_of_a_text_key_is_an_empty_text(written: str) -> None:
    assert prepare(written).values["prefix"] == ""


def test_text_of_a_command_line_keeps_its_spaces_and_lines() -> None:
    assert prepare("prefix=In a lab, ").values["prefix"] == "In a lab, "
    assert prepare("prefix=one\ntwo").values["prefix"] == "one\ntwo"
    assert prepare("prefix= ").values["prefix"] == " "


@pytest.mark.parametrize("written", ["prefix=Task #1", "prefix=#1", "min_frames=17 # short ones too"])
def test_a_value_that_yaml_would_cut_at_a_comment_is_refused_with_its_quoted_form(written: str) -> None:
    with pytest.raises(RequestError) as caught:
        prepare(written)
    problem = caught.value.problems[0]
    assert problem.code == "comment_in_value"
    assert "'\"" in problem.fix


def test_a_quoted_number_sign_is_text() -> None:
    assert prepare('prefix="Task #1. "').values["prefix"] == "Task #1. "


@pytest.mark.parametrize("path", ["min_frames", "skip_unusable", "caption_source", "caption_key", "test_source"])
def test_an_empty_value_of_any_other_key_is_refused_and_names_how_to_delete_it(path: str) -> None:
    with pytest.raises(RequestError) as caught:
        prepare(f"{path}=")
    assert caught.value.exit_code == 2
    assert [(problem.code, problem.path) for problem in caught.value.problems] == [("empty_value", path)]
    assert f"--set {path}=null" in caught.value.problems[0].fix


def test_an_empty_group_is_refused_and_null_deletes_it() -> None:
    with pytest.raises(RequestError) as caught:
        spec.build(catalog.find(REASON), Request(REASON, "train", overrides={"policy.lora": ""}))
    problem = next(problem for problem in caught.value.problems if problem.path == "policy.lora")
    assert "--set policy.lora=null" in problem.fix


def test_null_of_a_text_key_says_that_it_means_the_default() -> None:
    built = prepare("prefix=null")
    finding = next(finding for finding in built.findings if finding.code == "reset_to_default")
    assert built.values["prefix"] in finding.message
    assert "prefix=''" in finding.fix


@pytest.mark.parametrize("name", ["results_dir", "parent_job_id", "checkpoint", "image"])
def test_an_empty_option_is_refused_instead_of_meaning_its_default(name: str) -> None:
    with pytest.raises(RequestError) as caught:
        prepare(**{name: ""})
    assert [(problem.code, problem.path) for problem in caught.value.problems] == [("empty_value", name)]


@pytest.mark.parametrize(("name", "action"), ACTIONS)
def test_every_text_key_either_may_be_empty_by_its_meaning_or_refuses_it(name: str, action: str) -> None:
    schema = catalog.find(name).schema(action)
    for path, leaf in schemas.leaves(schema):
        types = {branch.get("type") for branch in leaf.get("anyOf", [leaf])}
        if "string" not in types:
            continue
        found = list(violations(schema, nested.with_value(schema["default"], path, "")))
        is_refused = any(problem.path == path and problem.code == "empty_value" for problem in found)
        may_be_empty = path in MAY_BE_EMPTY or path.rpartition(".")[2] in MAY_BE_EMPTY
        assert is_refused != may_be_empty, path
