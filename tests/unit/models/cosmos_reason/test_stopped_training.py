"""A training that stops at train.stop_epoch is whole, and goes on as if it had never stopped."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from .conftest import Document, diagnosis, losses, read_lines

Run = Callable[[str, Document], int]
SHOWN = ("train/loss_avg", "val/avg_loss", "optimizer/lr", "optimizer/grad_norm")


@pytest.fixture
def spec(train_spec: Document, state_dir: Path) -> Document:
    """Four epochs with everything that could go on wrongly: dropout, warm-up, decay, and a validation every second."""
    train_spec["policy"]["lora"] = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.2, "target_modules": ["q_proj"]}
    train_spec["train"] |= {"epoch": 4, "optm_decay_type": "cosine", "optm_warmup_epochs": 1.5}
    train_spec["validation"]["freq_in_epoch"] = 2
    return train_spec


def with_train(spec: Document, run_dir: Path, **values: object) -> Document:
    changed = copy.deepcopy(spec)
    changed["results_dir"] = str(run_dir)
    changed["train"] |= values
    return changed


def curve(run_dir: Path, name: str) -> dict[int, float]:
    lines = [line for line in read_lines(run_dir / "metrics.jsonl") if name in line]
    found = {line["step"]: line[name] for line in lines}
    assert len(found) == len(lines)  # no step is taken twice
    return found


def weights(run_dir: Path, epoch: int) -> dict[str, torch.Tensor]:
    return load_file(str(run_dir / "safetensors" / f"epoch_{epoch}" / "adapter_model.safetensors"))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_a_stopped_training_goes_on_exactly(spec: Document, run_program: Run, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run_program("train", with_train(spec, whole)) == 0
    assert run_program("train", with_train(spec, parts, stop_epoch=1)) == 0
    last = read_lines(parts / "status.jsonl")[-1]
    assert (last["state"], last["message"]) == ("SUCCESS", "Stopped after epoch 1 of 4 as train.stop_epoch asks.")
    assert (last["step"], last["total"]) == (3, 3)
    assert list(curve(parts, "val/avg_loss")) == [3]  # as after the last epoch, whatever the frequency
    assert names(parts / "checkpoints") == names(parts / "safetensors") == {"epoch_1"}
    assert (parts / "best" / "adapter_config.json").is_file()

    assert run_program("train", with_train(spec, parts, stop_epoch=3, resume=True)) == 0
    assert run_program("train", with_train(spec, parts, resume=True)) == 0
    assert read_lines(parts / "status.jsonl")[-1]["message"] == "Trained 4 epochs, 12 steps."
    for name in SHOWN:
        expected, found = curve(whole, name), curve(parts, name)
        assert {step: found[step] for step in expected} == expected, name
    for epoch in (1, 2, 3, 4):
        expected_weights, found_weights = weights(whole, epoch), weights(parts, epoch)
        assert all(torch.equal(found_weights[name], tensor) for name, tensor in expected_weights.items())


def test_a_training_at_its_stop_says_so(spec: Document, run_program: Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert run_program("train", with_train(spec, run, stop_epoch=1)) == 0
    assert run_program("train", with_train(spec, run, stop_epoch=1, resume=True)) == 2
    told = diagnosis(run)
    assert told["code"] == "nothing_to_train"
    assert "is at epoch 1, and train.stop_epoch is 1" in told["cause"]
    assert "Set train.stop_epoch above 1, or to null for all 4 epochs" in told["cure"]


def test_a_stop_after_the_end_is_refused_by_the_trainer_too(spec: Document, run_program: Run, tmp_path: Path) -> None:
    assert run_program("train", with_train(spec, tmp_path / "run", stop_epoch=5)) == 2
    assert diagnosis(tmp_path / "run")["code"] == "stop_after_the_end"


@pytest.mark.slow
def test_as_many_steps_as_some_epochs_have_are_the_training_of_those_epochs(
    spec: Document, run_program: Run, tmp_path: Path
) -> None:
    by_epochs, by_steps = tmp_path / "epochs", tmp_path / "steps"
    assert run_program("train", with_train(spec, by_epochs, epoch=2)) == 0
    assert run_program("train", with_train(spec, by_steps, epoch=7, max_steps=6)) == 0
    last = read_lines(by_steps / "status.jsonl")[-1]
    assert (last["state"], last["step"], last["total"]) == ("SUCCESS", 6, 6)
    assert last["message"] == "Trained 6 steps as train.max_steps asks, 2 epochs."
    for name in SHOWN:
        assert curve(by_steps, name) == curve(by_epochs, name), name
    for kind in ("checkpoints", "safetensors"):
        assert names(by_steps / kind) == names(by_epochs / kind) == {"epoch_1", "epoch_2"}
    expected, found = weights(by_epochs, 2), weights(by_steps, 2)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.slow
def test_steps_that_end_within_an_epoch_are_validated_saved_and_continued(
    spec: Document, run_program: Run, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    spec["train"] |= {"optm_decay_type": "none"}  # else a longer training has another schedule
    assert run_program("train", with_train(spec, whole, max_steps=7)) == 0
    assert run_program("train", with_train(spec, parts, max_steps=5)) == 0
    assert list(curve(parts, "val/avg_loss")) == [5]
    assert names(parts / "checkpoints") == names(parts / "safetensors") == {"epoch_1", "step_5"}
    assert json.loads((parts / "best" / "best_score.json").read_text())["best_ckpt_abs_dir"].endswith("/step_5")
    assert run_program("train", with_train(spec, parts, max_steps=5, resume=True)) == 2
    assert "is at step 5, and train.max_steps is 5" in diagnosis(parts)["cause"]

    assert run_program("train", with_train(spec, parts, max_steps=7, resume=True)) == 0
    assert losses(parts) == losses(whole)
    assert curve(parts, "val/avg_loss")[7] == curve(whole, "val/avg_loss")[7]
    best = Path(json.loads((parts / "best" / "best_score.json").read_text())["best_ckpt_abs_dir"]).name
    assert names(parts / "safetensors") == {"epoch_1", "epoch_2", "step_7", best}


def test_a_warm_up_beyond_the_steps_is_refused_by_the_trainer_too(
    spec: Document, run_program: Run, tmp_path: Path
) -> None:
    assert run_program("train", with_train(spec, tmp_path / "run", max_steps=2)) == 3
    assert diagnosis(tmp_path / "run")["code"] == "warm_up_after_the_end"


@pytest.mark.slow
def test_two_processes_go_on_exactly(
    spec: Document, write_config: Callable[[Document, str], Path], tmp_path: Path
) -> None:
    spec["policy"]["parallelism"] = {"dp_shard_size": 2}
    spec["train"] |= {"epoch": 2, "train_batch_per_replica": 4}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _torchrun(write_config(with_train(spec, whole), "whole"))
    _torchrun(write_config(with_train(spec, parts, stop_epoch=1), "first"))
    _torchrun(write_config(with_train(spec, parts, resume=True), "second"))
    assert losses(parts) == losses(whole)
    assert curve(parts, "val/avg_loss")[6] == curve(whole, "val/avg_loss")[6]
    assert json.loads((parts / "exit" / "rank_1.json").read_text())["exit_code"] == 0


@pytest.mark.slow
def test_a_second_training_with_another_rate_encodes_nothing(
    spec: Document, run_program: Run, tmp_path: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tao_skill_bank.models.cosmos_reason.network import Network

    encoded: list[int] = []
    encode = Network.encode

    def counted(network: Network, *arguments: object) -> torch.Tensor:
        encoded.append(1)
        return encode(network, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Network, "encode", counted)
    assert run_program("train", with_train(spec, tmp_path / "first", stop_epoch=1)) == 0
    assert len(encoded) == 24 + 9  # for all epochs to come, though it stops after one
    assert run_program("train", with_train(spec, tmp_path / "second", optm_lr=5e-3, stop_epoch=1)) == 0
    assert run_program("train", with_train(spec, tmp_path / "first", stop_epoch=2, resume=True)) == 0
    assert len(encoded) == 24 + 9


def _torchrun(config: Path) -> None:
    module = "tao_skill_bank.models.cosmos_reason.train"
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", module]
    finished = subprocess.run(
        [sys.executable, *command, "--config", str(config)], capture_output=True, text=True, timeout=1800, check=False
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
