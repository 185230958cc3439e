"""The numbers of a real training, where the spec sends them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Document, read_lines

Run = Callable[[str, Document], int]


def test_tensorboard_holds_the_metrics_of_every_step(train_spec: Document, run_program: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_spec["logging"]["logger"] = ["tensorboard"]
    train_spec["train"]["epoch"] = 1
    assert run_program("train", train_spec) == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    for name in ("train/loss_avg", "optimizer/lr", "optimizer/grad_norm", "train/iteration_time", "val/avg_loss"):
        expected = [(line["step"], line[name]) for line in lines if name in line]
        assert expected
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-6)
    assert "train/mfu" not in events.Tags()["scalars"]  # unknown on the CPU


def test_wandb_keeps_the_metrics_of_every_step_without_a_network(
    train_spec: Document, run_program: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train_spec["logging"] = {"logger": ["wandb"], "project_name": "clips", "experiment_name": "first"}
    train_spec["train"]["epoch"] = 1
    assert run_program("train", train_spec) == 0
    assert (wandb.run.project, wandb.run.name) == ("clips", "first")
    wandb.finish()
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    content = file.read_bytes()  # records of name and JSON value
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    for name in ("train/loss_avg", "optimizer/grad_norm", "val/avg_loss"):
        values = [json.dumps(line[name]).encode() for line in lines if name in line]
        assert values
        assert all(value in content for value in values)
        assert content.count(name.encode()) >= len(values)
