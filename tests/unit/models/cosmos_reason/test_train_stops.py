"""Trainings that must not go on: they stop early, say why, and leave nothing that looks like a result."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tao_skill_bank.jobs import diagnose

from .conftest import Document, diagnosis, losses

Run = Callable[[str, Document], int]


def written(run_dir: Path) -> list[str]:
    """Return what of a result is in a run directory."""
    return [name for name in ("checkpoints", "safetensors", "best") if any((run_dir / name).glob("*"))]


def causes(error_output: str) -> list[str]:
    return [found.code for found in diagnose.diagnose_text([error_output], "job.log")]


def without_media(annotations: Path, target: Path) -> str:
    records = json.loads(annotations.read_text())
    for record in records:
        del record["video"]
        record["conversations"][0]["value"] = "Where does it go?"
    target.write_text(json.dumps(records))
    return str(target)


def test_a_trained_vision_tower_that_sees_nothing_stops_before_the_first_step(
    train_spec: Document, run_program: Run, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = train_spec["custom"]["train_dataset"]
    source["annotation_path"] = without_media(clips / "train/annotations.json", tmp_path / "text.json")
    assert run_program("train", train_spec) == 8
    found = diagnosis(tmp_path / "run")
    assert found["code"] == "part_gets_no_gradient"
    assert "projector, vision no gradient" in found["cause"]
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert written(tmp_path / "run") == []
    assert "part_gets_no_gradient" in causes(capsys.readouterr().err)
    train_spec["policy"]["frozen_parts"] = ["vision", "projector"]  # the cure
    train_spec["train"]["epoch"] = 1
    train_spec["validation"]["enable"] = False
    assert run_program("train", train_spec) == 0


def test_adapters_of_a_vision_tower_that_sees_nothing_stop_too(
    train_spec: Document, run_program: Run, clips: Path, tmp_path: Path
) -> None:
    source = train_spec["custom"]["train_dataset"]
    source["annotation_path"] = without_media(clips / "train/annotations.json", tmp_path / "text.json")
    train_spec["policy"]["lora"] = {"target_modules": ["q_proj", "attn.qkv"]}
    assert run_program("train", train_spec) == 8
    assert "gives vision no gradient" in diagnosis(tmp_path / "run")["cause"]
    assert written(tmp_path / "run") == []


@pytest.mark.slow
def test_a_training_that_diverges_stops_and_keeps_only_what_was_saved_before(
    train_spec: Document, run_program: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_spec["train"] |= {
        "epoch": 12,
        "train_batch_per_replica": 4,
        "optm_lr": 30.0,
        "optm_warmup_epochs": 12.0,
        "ckpt": {"save_freq_in_epoch": 1},
    }
    assert run_program("train", train_spec) == 8
    found = diagnosis(tmp_path / "run")
    assert found["code"] == "loss_diverged"
    assert "optm_lr" in found["cure"]
    steps = len(losses(tmp_path / "run"))
    assert 20 < steps < 72
    epochs = {int(path.name.split("_")[1]) for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert max(epochs) <= steps // 6
    assert "loss_diverged" in causes(capsys.readouterr().err)


def test_a_loss_that_is_no_number_leaves_no_checkpoint(
    train_spec: Document, run_program: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_spec["train"] |= {"optm_lr": 4e9, "optm_grad_norm_clip": 0.0}
    assert run_program("train", train_spec) == 8
    assert diagnosis(tmp_path / "run")["code"] == "nan_loss"
    assert written(tmp_path / "run") == []
    assert "loss_not_finite" in causes(capsys.readouterr().err)
