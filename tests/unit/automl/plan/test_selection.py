from typing import Any

import pytest
from search_spaces import REASON, built, problems, recipe

from tao_skill_bank.automl.plan import option_reader, space
from tao_skill_bank.bank import catalog

PREDICT = "tao-finetune-cosmos-predict"


def names(**fields: Any) -> set[str]:
    return {dimension.name for dimension in built(**fields).dimensions}


def test_the_schemas_default_parameters_are_searched() -> None:
    assert names() == {
        "train.optm_decay_type",
        "train.epoch",
        "policy.lora.r",
        "policy.lora.lora_alpha",
        "train.optm_lr",
        "policy.lora.lora_dropout",
        "custom.vision.fps",
    }


def test_adapter_parameters_are_left_out_of_full_fine_tuning_and_fps_where_frames_are_counted() -> None:
    found = built(overrides={"policy.lora": None, "custom.vision.nframes": 8})
    assert {dimension.name for dimension in found.dimensions} == {
        "train.epoch",
        "train.optm_lr",
        "train.optm_decay_type",
    }
    assert "custom.vision.fps is not searched: custom.vision.nframes is set in its place." in found.notes
    assert "policy.lora.r is not searched: the spec has no policy.lora." in found.notes


def test_the_learning_rate_of_full_fine_tuning_is_searched_around_that_modes_recipe() -> None:
    rate = built(overrides={"policy.lora": None})["train.optm_lr"]
    assert (rate.low, rate.high, rate.log) == (1e-7, 1e-5, True)


def test_a_value_that_the_request_gives_pins_its_parameter_unless_the_search_names_it() -> None:
    overrides = {"train.epoch": 3, "custom.vision.fps": 2.0}
    found = built(overrides=overrides)
    assert not {"train.epoch", "custom.vision.fps"} & {dimension.name for dimension in found.dimensions}
    assert "train.epoch stays 3, as the request says; name it in automl.add to search it." in found.notes
    assert "train.epoch" in names(overrides=overrides, automl={"add": ["train.epoch"]})
    assert names(overrides=overrides, automl={"parameters": ["train.epoch"]}) == {"train.epoch"}
    assert "train.epoch" in names(overrides=overrides, automl={"ranges": {"train.epoch": {"maximum": 5}}})


def test_a_group_that_must_not_change_pins_all_that_is_in_it() -> None:
    skill = catalog.find(REASON)
    found = space.build(skill, recipe(skill).values, {"policy.lora"}, option_reader.parse({}))
    assert {dimension.name for dimension in found.dimensions if dimension.name.startswith("policy.lora")} == {
        "policy.lora.lora_alpha"
    }


def test_a_given_learning_rate_and_a_given_alpha_are_searched_around_what_was_given() -> None:
    found = built(overrides={"train.optm_lr": 3e-4, "policy.lora.r": 16, "policy.lora.lora_alpha": 256})
    assert (found["train.optm_lr"].low, found["train.optm_lr"].high) == (3e-5, 1e-3)
    alphas = [
        found.values({**middle(found), "policy.lora.lora_alpha": k})["policy.lora.lora_alpha"] for k in range(-2, 3)
    ]
    assert alphas == [64, 128, 256, 512, 1024]


def middle(found: Any) -> dict[str, Any]:
    return {dimension.name: (dimension.choices or (dimension.low,))[0] for dimension in found.dimensions}


def test_the_request_adds_excludes_and_replaces_parameters_by_path_or_shorthand() -> None:
    assert "train.optm_weight_decay" in names(automl={"add": ["train.optm_weight_decay"]})
    assert "train.epoch" not in names(automl={"exclude": ["train.epoch"]})
    assert not any(name.startswith("policy.lora") for name in names(automl={"exclude": ["policy.lora"]}))
    assert names(automl={"parameters": ["learning_rate", "num_epochs"]}) == {"train.optm_lr", "train.epoch"}


def test_a_parameter_without_a_search_domain_is_searched_in_a_whole_range_of_the_request() -> None:
    found = built(automl={"ranges": {"train.train_batch_per_replica": {"choices": [32, 8, 16]}}})
    assert found["train.train_batch_per_replica"].choices == (8, 16, 32)
    assert problems(automl={"ranges": {"train.train_batch_per_replica": {"minimum": 8}}})[0].code == "not_searchable"


@pytest.mark.parametrize(
    ("automl", "code", "part"),
    [
        ({"parameters": ["train.optm_lrr"]}, "unknown_parameter", "Did you mean train.optm_lr?"),
        ({"add": ["policy.lora.rank"]}, "unknown_parameter", "no parameter policy.lora.rank"),
        ({"exclude": ["train.epochs"]}, "unknown_parameter", "Did you mean train.epoch?"),
        ({"ranges": {"train.epochs": {"maximum": 3}}}, "unknown_parameter", "Did you mean train.epoch?"),
        ({"add": ["policy.lora.target_modules"]}, "not_searchable", "disables it"),
        ({"ranges": {"train.seed": {"choices": [1, 2]}}}, "not_searchable", "disables it"),
        ({"add": ["policy.lora"]}, "not_searchable", "group of parameters"),
        ({"add": ["train.optm_name"]}, "not_searchable", "no search domain"),
        ({"parameters": ["policy.model_max_length"]}, "not_searchable", "no search domain"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_the_reason(automl: dict[str, Any], code: str, part: str) -> None:
    (found,) = problems(automl=automl)
    assert found.code == code
    assert part in found.message
    assert found.fix
    assert found.path == f"automl.{next(iter(automl))}"


def test_what_this_spec_lacks_is_refused_when_the_request_names_it() -> None:
    (lora,) = problems(overrides={"policy.lora": None}, automl={"add": ["policy.lora.r"]})
    assert "the spec has no policy.lora" in lora.message
    (fps,) = problems(overrides={"custom.vision.nframes": 8}, automl={"add": ["custom.vision.fps"]})
    assert "custom.vision.nframes is set in its place" in fps.message


def test_a_list_of_learning_rates_is_left_as_it_is() -> None:
    overrides = {"train.optm_lr": [1e-5, 1e-6], "policy.lora": None}
    found = built(overrides=overrides)
    assert "train.optm_lr is not searched: its value is not a single number." in found.notes
    (problem,) = problems(overrides=overrides, automl={"add": ["train.optm_lr"]})
    assert problem.fix == "Set train.optm_lr to one number, or remove it from automl.add."


def test_every_mistake_is_reported_at_once() -> None:
    automl = {
        "add": ["train.optm_lrr", "train.seed"],
        "ranges": {"train.epoch": {"maximum": 50}, "policy.lora.r": {"minimum": 0}},
    }
    assert [problem.code for problem in problems(automl=automl)] == [
        "unknown_parameter",
        "not_searchable",
        "range_outside_schema",
        "range_outside_schema",
    ]


def test_a_search_of_nothing_is_refused() -> None:
    everything = {"exclude": ["train", "policy", "custom"]}
    assert [problem.code for problem in problems(automl=everything)] == ["empty_space"]
    given = {"lora.r": 8, "lora.use_dora": True, "train.epoch": 20, "lora.lora_dropout": 0.0}
    automl = {"exclude": ["train.optm_lr", "lora.lora_alpha"]}
    assert [problem.code for problem in problems(PREDICT, given, automl)] == ["empty_space"]
