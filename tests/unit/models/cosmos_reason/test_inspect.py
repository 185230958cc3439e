"""What a spec would build, told without weights."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.bank import execution
from tao_skill_bank.core import nested
from tao_skill_bank.models.cosmos_reason import architectures, meta_network, workload
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.inspect import inspect
from tao_skill_bank.training.config import load_spec

from .conftest import Document

GIB = 2**30
NAME = "hf_model://nvidia/Cosmos-Reason2-8B"
PARAMETERS = 8_767_123_696
H200_BYTES = 143_771 * 2**20


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
    needed = found["memory_bytes_per_gpu"]
    assert needed["total"] == sum(needed[part] for part in needed if part not in ("loading", "total"))


def test_what_the_workload_calls_unsized_changes_nothing_of_the_answer(
    train_spec: Document, write_config: Callable[..., Path]
) -> None:
    train_spec["policy"] |= {"model_name_or_path": "builtin://tiny-cosmos-reason", "lora": {"r": 4, "lora_alpha": 8}}
    changes = {
        "custom.on_bad_sample": "skip",
        "custom.max_bad_share": 0.1,
        "train.resume": True,
        "train.stop_epoch": 1,
        "train.seed": 7,
        "train.optm_lr": 1e-4,
        "train.optm_weight_decay": 0.1,
        "train.optm_betas": [0.8, 0.9],
        "train.epsilon": 1e-6,
        "train.optm_grad_norm_clip": 0.5,
        "train.optm_min_lr_factor": 0.1,
        "train.optm_warmup_epochs": 0.5,
        "train.optm_decay_type": "cosine",
        "policy.lora.lora_alpha": 32,
        "policy.lora.lora_dropout": 0.1,
    }
    assert set(changes) == set(workload.UNSIZED)
    before = inspect(load_spec(TrainConfig, write_config(train_spec)))
    for path, value in changes.items():
        train_spec = nested.with_value(train_spec, path, value)
    assert inspect(load_spec(TrainConfig, write_config(train_spec))) == before


def test_one_gpu_holds_the_whole_checkpoint_and_more_of_them_their_shards(
    inspected: Callable[..., dict[str, Any]],
) -> None:
    needed = inspected(NAME)["memory_bytes_per_gpu"]
    assert needed["loading"] == 4 * PARAMETERS
    sharded = inspected(NAME, parallelism={"dp_shard_size": 64})["memory_bytes_per_gpu"]
    assert sharded["loading"] == 0
    assert sharded["weights"] == 4 * PARAMETERS // 64


def test_the_architecture_of_a_fetched_model_is_found_where_it_was_put(tiny_model: Path, state_dir: Path) -> None:
    folder = state_dir / "models" / "hub" / "acme--tiny@main"
    folder.mkdir(parents=True)
    shutil.copy(tiny_model / "config.json", folder)
    expected = json.loads((tiny_model / "config.json").read_text())
    assert architectures.find("hf_model://acme/tiny@main") == expected


@pytest.mark.parametrize(
    ("lora", "checkpointing", "measured_gib"),
    [(True, False, 32.6), (True, True, 18.5), (False, False, 88.6), (False, 0.5, 74.0), (False, True, 66.9)],
)
def test_the_memory_estimate_is_within_a_tenth_of_what_an_h200_measured(
    lora: bool,
    checkpointing: bool | float,
    measured_gib: float,
    train_spec: Document,
    write_config: Callable[..., Path],
) -> None:
    """Measured by benchmarks/cosmos_reason_train.py: 4,384 tokens, 4,096 of them of vision, bfloat16 states."""
    train_spec["policy"] |= {"model_name_or_path": NAME, "model_max_length": 40960}
    train_spec["policy"]["model_gradient_checkpointing"] = checkpointing
    train_spec["policy"] |= {"lora": {"r": 16, "lora_alpha": 32}} if lora else {}
    train_spec["custom"]["vision"] = {"nframes": 32, "total_pixels": 32 * 512 * 512}
    train_spec["train"] |= {"param_dtype": "bfloat16", "master_dtype": "bfloat16", "train_batch_per_replica": 1}
    train_spec["train"]["train_policy"]["mini_batch"] = 1
    found = inspect(load_spec(TrainConfig, write_config(train_spec)), 4384)
    assert found["memory_bytes_per_gpu"]["total"] / GIB == pytest.approx(measured_gib, rel=0.1)


def test_full_training_with_float32_masters_fits_no_h200_and_the_cures_are_named(
    train_spec: Document, write_config: Callable[..., Path]
) -> None:
    train_spec["policy"] |= {"model_name_or_path": NAME, "model_max_length": 40960}
    train_spec["policy"]["model_gradient_checkpointing"] = "auto"
    train_spec["train"] |= {"param_dtype": "bfloat16", "train_batch_per_replica": 1}
    train_spec["train"]["train_policy"]["mini_batch"] = 1
    found = inspect(load_spec(TrainConfig, write_config(train_spec)), 4384)
    choice = execution.choose(execution.from_json(found["ways"]), H200_BYTES)
    assert not choice.fits
    for cure in ("master_dtype=bfloat16", "LoRA", "dp_shard_size=2", "fsdp_offload=true"):
        assert cure in found["cure"]


def test_longer_records_need_more_and_their_length_is_what_counts(
    train_spec: Document, write_config: Callable[..., Path]
) -> None:
    train_spec["policy"] |= {"model_name_or_path": NAME, "model_max_length": 81920}
    config = load_spec(TrainConfig, write_config(train_spec))
    known, unknown = (inspect(config, tokens)["memory_bytes_per_gpu"]["activations"] for tokens in (300, None))
    assert known < unknown


@pytest.mark.slow
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


def test_an_8b_keeps_134_mb_of_features_for_a_clip_of_4096_tokens(
    inspected: Callable[..., dict[str, Any]], train_spec: Document
) -> None:
    train_spec["train"]["param_dtype"] = "bfloat16"
    kept = inspected(NAME, lora={"target_modules": ["q_proj"]})["kept_features"]
    assert 4096 * kept["bytes_per_token"] == 134_217_728
    assert kept["required"] is False
    assert "train.train_policy.vision_feature_cache=off" in kept["cure"]
    train_spec["train"]["train_policy"]["vision_feature_cache"] = "on"
    assert inspected(NAME)["kept_features"]["required"] is True


def test_no_features_are_kept_of_a_trained_tower_for_one_epoch_or_when_switched_off(
    inspected: Callable[..., dict[str, Any]], train_spec: Document
) -> None:
    lora = {"target_modules": ["q_proj"]}
    assert inspected(NAME)["kept_features"] is None
    train_spec["train"]["epoch"] = 1
    assert inspected(NAME, lora=lora)["kept_features"] is None
    train_spec["train"]["epoch"] = 2
    train_spec["train"]["train_policy"]["vision_feature_cache"] = "off"
    assert inspected(NAME, lora=lora)["kept_features"] is None


@pytest.mark.parametrize(
    ("change", "builds"),
    [
        (("train.train_policy.mini_batch", 2), False),
        (("train.param_dtype", "float32"), False),
        (("policy.model_max_length", 4096), False),
        (("train.optm_lr", 1e-5), False),
        (("train.optm_lr", [1e-5, 1e-6]), True),
        (("policy.frozen_parts", ["vision"]), True),
        (("policy.lora", {"r": 4, "target_modules": ["q_proj"]}), True),
        (("policy.model_name_or_path", "hf_model://nvidia/Cosmos-Reason2-2B"), True),
    ],
)
def test_only_what_changes_the_network_or_names_a_part_of_it_builds_it_again(
    train_spec: Document,
    write_config: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    change: tuple[str, Any],
    builds: bool,
) -> None:
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "own"))
    facts, built = meta_network.facts, []
    monkeypatch.setattr(meta_network, "facts", lambda config: built.append(config) or facts(config))
    train_spec["policy"] |= {"model_name_or_path": "builtin://tiny-cosmos-reason"}
    inspect(load_spec(TrainConfig, write_config(train_spec)))
    assert len(built) == 1
    changed = load_spec(TrainConfig, write_config(nested.with_value(train_spec, *change)))
    after = inspect(changed)
    assert len(built) == 1 + builds
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "other"))
    assert inspect(changed) == after  # as built from nothing
