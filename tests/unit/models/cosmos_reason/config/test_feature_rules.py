"""Which training features exclude each other, told before anything is launched."""

from typing import Any

import pytest

from tao_skill_bank.bank import rules
from tao_skill_bank.core import nested
from tao_skill_bank.errors import Problem
from tao_skill_bank.models.cosmos_reason.config.feature_rules import TRAINING_FEATURES


def problems(**values: Any) -> list[Problem]:
    """Return the problems of a spec with these values, whose paths are written with two underscores for a dot."""
    spec: dict[str, Any] = {}
    for path, value in values.items():
        spec = nested.with_value(spec, path.replace("__", "."), value)
    return list(rules.broken(TRAINING_FEATURES, spec, set()))


FP8 = {"train__fp8__enable_fp8": True, "train__fp8__fp8_recipe": "dynamic_scaling", "train__param_dtype": "bfloat16"}
FOUR_BIT = {
    "policy__lora__load_in_4bit": True,
    "policy__lora__init_lora_weights": True,
    "policy__lora__modules_to_save": [],
    "policy__lora__target_modules": ["q_proj"],
    "policy__parallelism__dp_shard_size": 1,
    "train__fsdp_offload": False,
    "train__fp8__enable_fp8": False,
    "train__param_dtype": "bfloat16",
}


@pytest.mark.parametrize("values", [FP8, FOUR_BIT, {"policy__frozen_parts": ["vision"]}, {}])
def test_a_feature_alone_is_fine(values: dict[str, Any]) -> None:
    assert problems(**values) == []


def test_delayed_scaling_is_refused_with_the_recipe_that_exists() -> None:
    (found,) = problems(**FP8 | {"train__fp8__fp8_recipe": "delayed_scaling"})
    assert (found.code, found.path) == ("fp8_recipe", "train.fp8.fp8_recipe")
    assert "train.fp8.fp8_recipe=dynamic_scaling" in found.fix


@pytest.mark.parametrize("switch", [{}, {"train__fp8__enable_fp8": False}])
def test_delayed_scaling_is_refused_whether_fp8_is_on_or_not(switch: dict[str, Any]) -> None:
    (found,) = problems(train__fp8__fp8_recipe="delayed_scaling", **switch)
    assert (found.code, found.expected) == ("fp8_recipe", "dynamic_scaling")


def test_an_fp8_recipe_without_fp8_is_refused_with_the_switch_that_is_missing() -> None:
    (found,) = problems(train__fp8__enable_fp8=False, train__fp8__quant_recipe="tensorwise")
    assert (found.code, found.path) == ("fp8_recipe_unused", "train.fp8.quant_recipe")
    assert found.fix == "Set train.fp8.enable_fp8=true, or train.fp8.quant_recipe=rowwise."
    assert problems(**FP8, train__fp8__quant_recipe="tensorwise") == []
    assert problems(train__fp8__enable_fp8=False, train__fp8__quant_recipe="rowwise") == []


def test_fp8_needs_bfloat16() -> None:
    (found,) = problems(**FP8 | {"train__param_dtype": "float32"})
    assert (found.code, found.expected) == ("fp8_dtype", "bfloat16")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("policy__parallelism__dp_shard_size", 2),
        ("train__fsdp_offload", True),
        ("train__fp8__enable_fp8", True),
        ("policy__lora__modules_to_save", ["visual"]),
        ("policy__lora__init_lora_weights", "pissa"),
        ("policy__lora__init_lora_weights", "olora"),
    ],
)
def test_a_base_in_4_bits_excludes_what_would_touch_its_weights(path: str, value: Any) -> None:
    (found,) = problems(**FOUR_BIT | {path: value})
    assert (found.code, found.path, found.got) == ("four_bit_excludes", path.replace("__", "."), value)
    assert found.fix.endswith("or set policy.lora.load_in_4bit=false.")
    assert problems(**FOUR_BIT | {path: value, "policy__lora__load_in_4bit": False}) == []


@pytest.mark.parametrize("start", ["gaussian", "eva", False])
def test_other_starts_of_adapters_go_with_4_bits(start: Any) -> None:
    assert problems(**FOUR_BIT | {"policy__lora__init_lora_weights": start}) == []


@pytest.mark.parametrize(
    ("targets", "saved", "frozen", "refused"),
    [
        (["q_proj", "v_proj"], [], ["llm"], True),
        (["attn.qkv"], [], ["vision"], True),
        (["attn.qkv", "q_proj"], [], ["vision"], False),
        (["attn.qkv", "q_proj"], [], ["vision", "llm"], True),
        (["attn.qkv"], ["visual"], ["vision"], False),
        (["all-linear"], [], ["vision", "llm"], False),
        (["q_proj"], [], [], False),
    ],
)
def test_adapters_in_frozen_parts_alone_are_refused(
    targets: list[str], saved: list[str], frozen: list[str], *, refused: bool
) -> None:
    found = problems(
        policy__lora__target_modules=targets, policy__lora__modules_to_save=saved, policy__frozen_parts=frozen
    )
    assert [problem.code for problem in found] == (["nothing_to_train"] if refused else [])


def test_full_fine_tuning_with_every_part_frozen_is_refused() -> None:
    every = ["llm", "vision", "projector", "lm_head"]
    (found,) = problems(policy__lora=None, policy__frozen_parts=every)
    assert (found.code, found.path) == ("nothing_to_train", "policy.frozen_parts")
    assert problems(policy__lora=None, policy__frozen_parts=every[:3]) == []


NOT_FROZEN: dict[str, Any] = {"policy__frozen_parts": []}
CACHE = {"train__train_policy__vision_feature_cache": "on"}
ADAPTERS = {"policy__lora__target_modules": ["q_proj"], "policy__lora__modules_to_save": []}


@pytest.mark.parametrize(
    "trained",
    [
        {"policy__lora": None, "policy__frozen_parts": ["vision"]},
        ADAPTERS | {"policy__lora__target_modules": ["q_proj", "attn.qkv"]},
        ADAPTERS | {"policy__lora__modules_to_save": ["visual"]},
    ],
)
def test_features_of_a_trained_tower_are_not_kept(trained: dict[str, Any]) -> None:
    (found,) = problems(**CACHE, **trained, **({} if "policy__frozen_parts" in trained else NOT_FROZEN))
    assert found.code == "trained_tower"
    assert "vision_feature_cache=off" in found.fix


@pytest.mark.parametrize("frozen", [ADAPTERS, {"policy__lora": None, "policy__frozen_parts": ["vision", "projector"]}])
def test_features_of_a_frozen_tower_are(frozen: dict[str, Any]) -> None:
    assert problems(**CACHE, **frozen, **({} if "policy__frozen_parts" in frozen else NOT_FROZEN)) == []
