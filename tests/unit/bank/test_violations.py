"""A request and a config file that say the same bad thing are answered in the same words."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.violations import violations
from tao_skill_bank.contracts import Request
from tao_skill_bank.core import nested
from tao_skill_bank.errors import Problem, RequestError
from tao_skill_bank.models.cosmos_reason.config import rules
from tao_skill_bank.spec import build as spec
from tao_skill_bank.training.config import load_spec

SKILLS = ("tao-finetune-cosmos-reason", "tao-finetune-cosmos-predict")
ACTIONS = [(name, action) for name in SKILLS for action in catalog.find(name).info.actions]
NEEDED = {
    "inference": {"media": "/a.mp4", "prompt": "?"},
    "evaluate": {"generated_dir": "/g", "judge.model": "hf_model://nvidia/Cosmos-Reason2-8B"},
    "export": {"model_path": "/m", "adapter_path": "/a"},
}
Document = dict[str, Any]


def request(name: str, action: str, overrides: Document) -> Request:
    skill = catalog.find(name)
    known = dict(schemas.parameters(skill.schema(action)))
    needed = {path: value for path, value in NEEDED.get(action, {}).items() if path in known}
    datasets = dict.fromkeys(skill.info.data_sources.get(action, {}), "/data")
    return Request(name, action, datasets=datasets, overrides={**needed, **overrides})


def valid(name: str, action: str) -> Document:
    """Return a spec without a problem."""
    return spec.build(catalog.find(name), request(name, action, {})).values


def of_request(name: str, action: str, overrides: Document) -> list[Problem]:
    try:
        spec.build(catalog.find(name), request(name, action, overrides))
    except RequestError as error:
        return sorted(error.problems, key=lambda problem: problem.path)
    return []


def of_config(name: str, action: str, document: Document, path: Path) -> list[Problem]:
    path.write_text(tomli_w.dumps(document), encoding="utf-8")
    try:
        load_spec(catalog.find(name).spec_class(action), path)
    except RequestError as error:
        return sorted(error.problems, key=lambda problem: problem.path)
    return []


def changed(document: Document, overrides: Document) -> Document:
    for path, value in overrides.items():
        document = nested.with_value(document, path, value)
    return document


def worded(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems without overrides, which only a request has."""
    return [replace(problem, fix_set={}, fix_choices=()) for problem in problems]


@pytest.mark.parametrize(
    ("action", "overrides", "codes"),
    [
        ("train", {"train.optm_decay_type": "cosin"}, ["invalid_enum"]),
        ("train", {"policy.lora.r": 0}, ["invalid_minimum"]),
        ("train", {"policy.lora.r": 2.5}, ["invalid_type"]),
        ("train", {"train.epoch": "three"}, ["invalid_type"]),
        ("train", {"train.optm_lr": float("inf")}, ["invalid_any_of"]),
        ("train", {"train.epcoh": 3}, ["unknown_parameter"]),
        ("train", {"custom.vision.nframes": 4, "custom.vision.fps": 2.0}, ["not_exactly_one"]),
        ("train", {"custom.vision.resized_height": 64}, ["not_together"]),
        ("train", {"policy.lora": "yes"}, ["invalid_type"]),
        (
            "train",
            {"policy.lora.r": -1, "train.epoch": 0, "surprise": 1},
            ["invalid_minimum", "unknown_parameter", "invalid_minimum"],
        ),
        ("export", {"max_shard_size": "five"}, ["invalid_pattern"]),
        ("export", {"model_path": ""}, ["empty_value"]),
    ],
)
def test_a_request_and_a_config_file_word_the_same_mistake_alike(
    action: str, overrides: Document, codes: list[str], tmp_path: Path
) -> None:
    name = SKILLS[0]
    asked = of_request(name, action, overrides)
    loaded = of_config(name, action, changed(valid(name, action), overrides), tmp_path / "config.toml")
    assert [problem.code for problem in asked] == codes
    assert worded(asked) == worded(loaded)


def test_a_missing_parameter_is_worded_alike(tmp_path: Path) -> None:
    (asked,) = of_request(SKILLS[0], "export", {"model_path": None})
    (loaded,) = of_config(SKILLS[0], "export", {}, tmp_path / "config.toml")
    assert asked == loaded
    assert asked.code == "missing_parameter"


def test_a_broken_rule_is_worded_alike(tmp_path: Path) -> None:
    overrides = {"enable_lora": True}
    document = changed(valid(SKILLS[0], "export"), overrides)
    (tmp_path / "config.toml").write_text(tomli_w.dumps(document), encoding="utf-8")
    loaded = load_spec(catalog.find(SKILLS[0]).spec_class("export"), tmp_path / "config.toml")
    with pytest.raises(RequestError) as caught:
        rules.require("export", loaded)
    assert worded(of_request(SKILLS[0], "export", overrides)) == worded(caught.value.problems)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "action"), ACTIONS)
@pytest.mark.parametrize("value", [0, "x", [], True, -1.5, 3.5, float("nan"), [{"a": 1}]])
def test_the_schema_lets_nothing_through_that_the_dataclass_refuses(
    name: str, action: str, value: Any, tmp_path: Path
) -> None:
    document, skill = valid(name, action), catalog.find(name)
    kind, schema, file = skill.spec_class(action), skill.schema(action), tmp_path / "config.toml"
    refused = 0
    for path, _ in schemas.parameters(schema):
        changed_document = nested.with_value(document, path, value)
        found = list(violations(schema, changed_document))
        refused += bool(found)
        if not found:
            file.write_text(tomli_w.dumps(changed_document), encoding="utf-8")
            assert isinstance(load_spec(kind, file), kind), path
    assert refused
