"""The overrides that are offered for too little memory make the run fit, at the sizes of the 8B."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tao_skill_bank.core import nested
from tao_skill_bank.models.cosmos_reason import generation_memory, inspect, ladders
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig, InferenceConfig, TrainConfig
from tao_skill_bank.training import fitting
from tao_skill_bank.training.config import spec_of
from tao_skill_bank.training.fitting import Capacity

from .conftest import Document

NAME = "hf_model://nvidia/Cosmos-Reason2-8B"
GIB = 2**30
TOKENS = 4384


def train(spec: Mapping[str, Any]) -> dict[str, Any]:
    return inspect.inspect(spec_of(TrainConfig, spec), TOKENS)


def evaluate(spec: Mapping[str, Any]) -> dict[str, Any]:
    return generation_memory.inspect_evaluate(spec_of(EvaluateConfig, spec))


def inference(spec: Mapping[str, Any]) -> dict[str, Any]:
    return generation_memory.inspect_inference(spec_of(InferenceConfig, spec))


def offered(
    action: str, spec: Document, report: Callable[[Mapping[str, Any]], dict[str, Any]], gib: int
) -> list[dict[str, Any]]:
    """Return what is offered, after it was seen that the spec does not fit without it, and does with it."""
    capacity = Capacity(gib * GIB, is_gpu=True)
    assert not capacity.holds(report(spec))
    found = fitting.choices(spec, ladders.of(action, spec), report, capacity)
    for overrides in found:
        changed: Mapping[str, Any] = spec
        for path, value in overrides.items():
            changed = nested.with_value(changed, path, value)
        assert capacity.holds(report(changed)), overrides
    return found


@pytest.mark.slow
def test_a_full_training_of_the_8b_on_80_gib_is_offered_lora_and_other_masters(train_spec: Document) -> None:
    train_spec["policy"] |= {"model_name_or_path": NAME, "model_gradient_checkpointing": "auto"}
    train_spec["train"] |= {"param_dtype": "bfloat16", "train_batch_per_replica": 8}
    train_spec["train"]["train_policy"]["mini_batch"] = 8
    found = offered("train", train_spec, train, 80)
    assert found[0] == {"train.master_dtype": "bfloat16"}
    assert {"policy.lora": {"r": 16, "lora_alpha": 16}} in found
    assert {"train.fsdp_offload": True} in found


@pytest.mark.slow
def test_adapters_of_the_8b_on_16_gib_are_offered_four_bits(train_spec: Document) -> None:
    train_spec["policy"] |= {"model_name_or_path": NAME, "lora": {"r": 8}, "model_gradient_checkpointing": "auto"}
    train_spec["train"] |= {"param_dtype": "bfloat16", "train_batch_per_replica": 4}
    train_spec["train"]["train_policy"]["mini_batch"] = 4
    assert {"policy.lora.load_in_4bit": True} in offered("train", train_spec, train, 16)


@pytest.mark.slow
def test_an_evaluation_is_offered_a_smaller_batch_before_fewer_pixels(evaluate_spec: Document) -> None:
    evaluate_spec["model"] = {"model_name": NAME, "dtype": "bfloat16"}
    evaluate_spec["evaluation"]["batch_size"] = 64
    evaluate_spec["vision"] = {"nframes": 40}
    found = offered("evaluate", evaluate_spec, evaluate, 24)
    assert found
    assert set(found[0]) == {"evaluation.batch_size"}
    assert 1 <= found[0]["evaluation.batch_size"] < 64


@pytest.mark.slow
def test_float32_weights_are_offered_bfloat16() -> None:
    spec = {"media": "a.mp4", "prompt": "?", "num_frames": 8, "model_path": NAME, "torch_dtype": "float32"}
    assert offered("inference", spec, inference, 24) == [{"torch_dtype": "bfloat16"}]


def test_what_is_not_sized_has_no_ladder() -> None:
    assert ladders.of("export", {}) == []
