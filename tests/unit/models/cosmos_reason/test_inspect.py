"""What a spec would build, told without weights."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.models.cosmos_reason import architectures, memory
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.inspect import inspect
from tao_skill_bank.training.config import load_spec

from .conftest import Document

GIB = 2**30


@pytest.fixture
def inspected(train_spec: Document, write_config: Callable[..., Path]) -> Callable[..., dict[str, Any]]:
    def run(model: str, **policy: Any) -> dict[str, Any]:
        train_spec["policy"] |= {"model_name_or_path": model, **policy}
        return inspect(load_spec(TrainConfig, write_config(train_spec)))

    return run


def test_the_tiny_model_is_counted_as_it_trains(inspected: Callable[..., dict[str, Any]], tiny_model: Path) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    real = Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model))
    weights = sum(parameter.numel() for parameter in real.parameters())
    for model in ("builtin://tiny-cosmos-reason", str(tiny_model)):
        found = inspected(model)
        assert found["parameters"] == found["trainable_parameters"] == weights
        assert found["lora"] is None


def test_targets_of_an_8b_lora_are_matched_without_its_weights(inspected: Callable[..., dict[str, Any]]) -> None:
    lora = {"r": 16, "target_modules": ["q_proj", "v_proj", "attn.qkv"]}
    found = inspected("hf_model://nvidia/Cosmos-Reason2-8B", lora=lora)
    assert 8.7e9 < found["parameters"] < 8.8e9
    assert found["lora"]["targets"] == {"q_proj": 36, "v_proj": 36, "attn.qkv": 27}
    assert (found["lora"]["vision_modules"], found["lora"]["language_modules"]) == (27, 72)
    text = 36 * 16 * ((4096 + 4096) + (4096 + 1024))
    vision = 27 * 16 * (1152 + 3 * 1152)
    assert found["trainable_parameters"] == text + vision
    assert found["memory_bytes_per_gpu"]["total"] == sum(
        found["memory_bytes_per_gpu"][part] for part in ("weights", "gradients", "optimizer", "activations")
    )


def test_a_gpu_holds_the_whole_checkpoint_before_it_is_sharded() -> None:
    shape = memory.Shape(8_767_000_000, 8_767_000_000, 36, 4096, 12288, 151936)
    adapted = memory.Shape(8_767_000_000, 7_700_000, 36, 4096, 12288, 151936)
    setup = memory.Setup(2, 4, 64, False, True, 1, 1024 * 2048, 2048)
    assert memory.bytes_per_gpu(shape, setup)["total"] == 4 * shape.parameters
    assert memory.bytes_per_gpu(adapted, setup)["total"] == 2 * (adapted.parameters - adapted.trained)
    offloaded = memory.bytes_per_gpu(shape, replace(setup, offload=True))
    assert offloaded["total"] == offloaded["activations"]


def test_the_architecture_of_a_fetched_model_is_found_where_it_was_put(tiny_model: Path, state_dir: Path) -> None:
    folder = state_dir / "models" / "hub" / "acme--tiny@main"
    folder.mkdir(parents=True)
    shutil.copy(tiny_model / "config.json", folder)
    expected = json.loads((tiny_model / "config.json").read_text())
    assert architectures.find("hf_model://acme/tiny@main") == expected


def test_the_memory_estimate_is_near_what_an_h200_measured() -> None:
    lora = memory.Shape(8_767_000_000, 7_700_000, 36, 4096, 12288, 151936)
    full = memory.Shape(8_767_000_000, 8_767_000_000, 36, 4096, 12288, 151936)

    def total(shape: memory.Shape, master_bytes: int, checkpointing: bool) -> float:
        setup = memory.Setup(2, master_bytes, 1, False, checkpointing, 1, 3872 * 2048, 81920)
        assert setup.tokens == 4384
        return memory.bytes_per_gpu(shape, setup)["total"] / GIB

    assert total(lora, 4, True) == pytest.approx(19.6, rel=0.15)
    assert total(lora, 4, False) == pytest.approx(33.7, rel=0.15)
    assert total(full, 2, True) == pytest.approx(69.5, rel=0.15)


def test_an_unknown_architecture_exits_with_3_and_says_so(
    train_spec: Document, write_config: Callable[..., Path]
) -> None:
    train_spec["policy"]["model_name_or_path"] = "hf_model://acme/unknown"
    command = [sys.executable, "-m", "tao_skill_bank.models.cosmos_reason.inspect"]
    finished = subprocess.run(
        [*command, "--config", str(write_config(train_spec))], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 3
    assert "acme/unknown" in json.loads(finished.stdout)["error"]
