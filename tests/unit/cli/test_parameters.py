"""Single keys of a schema."""

import json

import pytest
from typer.testing import CliRunner

from tao_skill_bank.bank import catalog, schema
from tao_skill_bank.cli import main, parameters
from tao_skill_bank.errors import UnknownNameError

REASON, PREDICT = "tao-finetune-cosmos-reason", "tao-finetune-cosmos-predict"


def test_a_key_has_its_default_limits_choices_meaning_and_search_domain() -> None:
    rank = parameters.describe(catalog.find(REASON), "train", "policy.lora.r")
    assert (rank["default"], rank["minimum"], rank["expects"]) == (8, 1, "integer >= 1")
    assert rank["search"] == {"minimum": 1, "maximum": 256, "math_cond": "^ 2"}
    assert "1..256" in rank["automl"]
    optimizer = parameters.describe(catalog.find(REASON), "train", "train.optm_name")
    assert (optimizer["enum"], optimizer["automl"]) == (["AdamW", "Adam"], "-")
    assert optimizer["description"]


def test_a_group_lists_its_children_briefly() -> None:
    group = parameters.describe(catalog.find(REASON), "train", "policy.lora")
    assert {"key": "policy.lora.r", "expects": "integer >= 1", "default": 8} in group["children"]
    assert "description" not in group["children"][0]
    inner = parameters.describe(catalog.find(REASON), "train", "policy")["children"]
    assert {"key": "policy.lora", "expects": "a group of 11 keys"} in inner


@pytest.mark.parametrize("skill", [REASON, PREDICT])
def test_every_key_of_every_action_is_described_in_few_bytes(skill: str) -> None:
    found = catalog.find(skill)
    for action in found.info.actions:
        for key, _ in schema.parameters(found.schema(action)):
            described = parameters.describe(found, action, key)
            assert described["key"] == key
            assert len(json.dumps(described)) < 6000, key
            assert list(parameters.rows(described))


def test_a_shorthand_is_the_key_that_it_stands_for() -> None:
    found = catalog.find(REASON)
    shorthand, key = next(iter(found.info.spec_shorthand_keys.items()))
    assert parameters.describe(found, "train", shorthand)["key"] == key


@pytest.mark.parametrize(("word", "nearest"), [("train.epcoh", "train.epoch"), ("train.zzzz.zzzz", None)])
def test_an_unknown_key_names_the_nearest_and_exits_5(word: str, nearest: str | None) -> None:
    for call in (parameters.describe, parameters.matching):
        with pytest.raises(UnknownNameError) as refused:
            call(catalog.find(REASON), "train", word)
        (problem,) = refused.value.problems
        assert (refused.value.exit_code, problem.code, problem.expected) == (5, "unknown_parameter", nearest)
        assert (f"Use {nearest}." if nearest else "tao-skills template") in problem.fix


def test_keys_are_found_by_name_and_by_meaning_in_any_case() -> None:
    names = {each["key"] for each in parameters.matching(catalog.find(REASON), "train", "LORA")}
    assert {"policy.lora.r", "train.optm_lr"} <= names  # the latter by its description
    assert "train.epoch" not in names


def test_the_command_line_prints_one_key_or_the_matching_ones() -> None:
    run = CliRunner().invoke
    document = json.loads(run(main.app, ["schema", REASON, "train", "train.epoch", "--json"]).stdout)
    assert (document["key"], document["default"], document["code"]) == ("train.epoch", 10, 0)
    lines = run(main.app, ["template", REASON, "train", "--grep", "warmup"]).stdout.splitlines()
    assert lines[0] == "key\tdefault\tmeaning"
    assert any(line.startswith("train.optm_warmup_epochs\t0.0\t") for line in lines)
    keys = json.loads(run(main.app, ["template", REASON, "train", "--grep", "warmup", "--json"]).stdout)["keys"]
    assert [each["key"] for each in keys] == [line.split("\t")[0] for line in lines[1:]]
