"""Rules over several keys of a spec, checked before a launch and again by the program."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.bank.rules import broken
from tao_skill_bank.errors import RequestError
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig, InferenceConfig, rules
from tao_skill_bank.training.config import load_spec

from .conftest import Document

Broken = Callable[..., list[str]]


@pytest.fixture
def evaluation(evaluate_spec: Document, write_config: Callable[..., Path]) -> Broken:
    def of(**changes: dict[str, Any]) -> list[str]:
        document = {**evaluate_spec, **{name: evaluate_spec.get(name, {}) | new for name, new in changes.items()}}
        return _codes("evaluate", load_spec(EvaluateConfig, write_config(document)))

    return of


def _codes(action: str, config: Any) -> list[str]:
    problems = list(broken(rules.RULES[action], asdict(config), set()))
    assert all(problem.fix and problem.path for problem in problems)
    return [problem.code for problem in problems]


def test_the_program_refuses_all_that_is_broken_at_once(
    evaluate_spec: Document, write_config: Callable[..., Path]
) -> None:
    evaluate_spec["generation"]["max_tokens"] = 2048
    evaluate_spec["model"]["enable_lora"] = True
    with pytest.raises(RequestError) as caught:
        rules.require("evaluate", load_spec(EvaluateConfig, write_config(evaluate_spec)))
    assert {problem.code for problem in caught.value.problems} == {"max_length", "adapter_without_base"}


def test_an_evaluation_that_can_run_breaks_no_rule(evaluation: Broken) -> None:
    assert evaluation() == []
    assert evaluation(evaluation={"engine": "vllm"}, vision={"video_end": 1.0, "video_start": 0.0}) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"generation": {"max_tokens": 2048}}, "max_length"),
        ({"model": {"enable_lora": True}}, "adapter_without_base"),
        ({"dataset": {"system_prompt": "Be brief.<|im_end|>"}}, "reserved_token"),
        ({"dataset": {"system_prompt": "<video>"}}, "reserved_token"),
        ({"model": {"base_model_path": "/base"}}, "base_without_adapter"),
        ({"evaluation": {"shard_id": 2, "total_shard": 2}}, "no_such_shard"),
        ({"vision": {"video_start": 2.0, "video_end": 1.0}}, "empty_video_window"),
        ({"evaluation": {"engine": "vllm"}, "vision": {"video_start": 1.0}}, "start_on_server"),
        (
            {"evaluation": {"engine": "vllm"}, "model": {"enable_lora": True, "base_model_path": "/base"}},
            "adapter_on_server",
        ),
        ({"model": {"model_name": "hf_model://Qwen/Qwen3-VL-30B-A3B-Instruct"}}, "model_type"),
        ({"model": {"model_name": "/models/qwen3-vl-235b-a22b-thinking"}}, "model_type"),
    ],
)
def test_what_cannot_run_is_told_with_its_fix(evaluation: Broken, changes: dict[str, Any], code: str) -> None:
    assert evaluation(**changes) == [code]


def test_one_answer_is_not_spread_over_gpus(write_config: Callable[..., Path]) -> None:
    spec = {"media": "a.mp4", "prompt": "What?", "fps": 1.0}
    assert _codes("inference", load_spec(InferenceConfig, write_config(spec))) == []
    assert _codes("inference", load_spec(InferenceConfig, write_config(spec | {"num_gpus": 2}))) == ["one_gpu"]


@pytest.mark.parametrize(
    "name", ["Qwen/Qwen3-VL-32B-Instruct", "nvidia/Cosmos-Reason2-2B", "/data/a3b-study/qwen3-vl-8b"]
)
def test_dense_checkpoints_are_not_taken_for_mixtures(evaluation: Broken, name: str) -> None:
    assert evaluation(model={"model_name": name}) == []
