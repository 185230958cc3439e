"""Features of a frozen vision tower: the same training with them, once encoded, never stale."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tao_skill_bank.models.cosmos_reason import feature_file, inspect
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.media import Features
from tao_skill_bank.samples.vlm import write_video
from tao_skill_bank.training.config import load_spec

from .conftest import Document, diagnosis, losses

Run = Callable[[str, Document], int]
LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}


@pytest.fixture
def lora_spec(train_spec: Document, state_dir: Path) -> Document:
    train_spec["policy"]["lora"] = LORA
    train_spec["train"]["ckpt"] = {"enable_checkpoint": False}
    return train_spec


def files(state_dir: Path) -> list[Path]:
    return sorted((state_dir / "cache" / "features").rglob("*.safetensors"))


@pytest.mark.slow
def test_training_on_features_repeats_the_losses_of_training_on_clips(
    lora_spec: Document, run_program: Run, state_dir: Path, tmp_path: Path, write_config: Callable[..., Path]
) -> None:
    found = {}
    for mode in ("off", "on"):
        lora_spec["results_dir"] = str(tmp_path / mode)
        lora_spec["train"]["train_policy"]["vision_feature_cache"] = mode
        assert run_program("train", lora_spec) == 0
        found[mode] = losses(tmp_path / mode)
    assert found["on"] == pytest.approx(found["off"], rel=1e-5)
    assert len(files(state_dir)) == 24 + 9  # training and validation clips
    config = load_spec(TrainConfig, write_config(lora_spec))
    per_token = inspect.inspect(config)["kept_features"]["bytes_per_token"]
    tokens = 2 * 2 * 2  # two pairs of frames of 64x64 pixels
    values = [feature_file.read(file).values for file in files(state_dir)]
    assert [value.nbytes for value in values] == [tokens * per_token] * 33


@pytest.mark.slow
def test_a_second_training_encodes_nothing(
    lora_spec: Document, run_program: Run, state_dir: Path, tmp_path: Path
) -> None:
    times = []
    for name in ("first", "second"):
        lora_spec["results_dir"] = str(tmp_path / name)
        assert run_program("train", lora_spec) == 0  # auto: two epochs, a frozen tower
        times.append([file.stat().st_mtime_ns for file in files(state_dir)])
    assert times[0] == times[1] != []


def test_another_clip_under_the_same_name_is_encoded_anew(
    lora_spec: Document, run_program: Run, state_dir: Path, tmp_path: Path, clips: Path
) -> None:

    records = json.loads((clips / "train" / "annotations.json").read_text())[:8]
    folder = tmp_path / "data"
    (folder / "videos").mkdir(parents=True)
    for record in records:
        (folder / record["video"]).write_bytes((clips / "train" / record["video"]).read_bytes())
    (folder / "annotations.json").write_text(json.dumps(records))
    lora_spec["custom"]["train_dataset"] = {
        "annotation_path": str(folder / "annotations.json"),
        "media_path": str(folder),
    }
    lora_spec["validation"] = {"enable": False}
    assert run_program("train", lora_spec) == 0
    before = files(state_dir)
    changed = folder / records[0]["video"]
    write_video(changed, np.zeros((8, 64, 64, 3), dtype=np.uint8))
    os.utime(changed, ns=(1, 1))
    lora_spec["results_dir"] = str(tmp_path / "again")
    assert run_program("train", lora_spec) == 0
    assert len(set(files(state_dir)) - set(before)) == 1


def test_a_trained_tower_has_no_features_to_keep(
    train_spec: Document, run_program: Run, state_dir: Path, tmp_path: Path
) -> None:
    train_spec["train"]["train_policy"]["vision_feature_cache"] = "on"
    assert run_program("train", train_spec) == 2
    assert diagnosis(tmp_path / "run")["code"] == "trained_tower"
    assert files(state_dir) == []


@pytest.mark.slow
def test_a_disk_without_room_stops_only_who_insists(
    lora_spec: Document, run_program: Run, state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tao_skill_bank.models.cosmos_reason import feature_cache

    monkeypatch.setattr(feature_cache, "FREE_BYTES", 2**60)
    assert run_program("train", lora_spec) == 0
    assert files(state_dir) == []
    lora_spec["results_dir"] = str(tmp_path / "insists")
    lora_spec["train"]["train_policy"]["vision_feature_cache"] = "on"
    assert run_program("train", lora_spec) == 3
    assert diagnosis(tmp_path / "insists")["code"] == "no_room_for_features"


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    features: Any = Features(torch.randn(6, 2, 4), (3, 2, 4), (0.5, 1.5, 2.5))
    feature_file.write(tmp_path / "clip.safetensors", features)
    got = feature_file.read(tmp_path / "clip.safetensors")
    assert torch.equal(got.values, features.values)
    assert (got.patches, got.timestamps) == (features.patches, features.timestamps)
