"""The numbers of a training, in metrics.jsonl and wherever else the spec names."""

import json
import logging
import sys
import types

import pytest

pytest.importorskip("torch")

import torch

from tao_skill_bank.errors import MissingExtraError
from tao_skill_bank.runs.status_log import StatusWriter
from tao_skill_bank.training.distributed import Ranks
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.training.metric_logger import Destinations, MetricLogger

VALUES = {"train/loss_avg": 0.25, "train/mfu": None}


@pytest.fixture
def make(tmp_path):
    def build(*loggers, rank=0):
        run = Run(tmp_path, Ranks(rank, 2, torch.device("cpu")), StatusWriter(tmp_path))
        return MetricLogger(run, Destinations(loggers, "project", "experiment"), 4, 8)

    return build


def test_values_and_the_epoch_go_to_the_metrics_file(make, tmp_path):
    make("tao").write(2, VALUES)
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert {key: line[key] for key in line if key != "time"} == {"step": 2, "epoch": 0.5, **VALUES}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_the_console_gets_one_line_without_what_is_unknown(make, caplog):
    caplog.set_level(logging.INFO)
    make("console").write(2, VALUES)
    assert caplog.messages == ["step 2/8  train/loss_avg 0.25"]


def test_tensorboard_gets_events_that_its_own_reader_finds(make, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = make("tensorboard")
    logger.write(1, VALUES)
    logger.write(2, VALUES | {"train/loss_avg": 0.125})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["train/loss_avg"]
    assert [(event.step, event.value) for event in events.Scalars("train/loss_avg")] == [(1, 0.25), (2, 0.125)]


def test_wandb_gets_the_runs_names_and_the_values(make, monkeypatch):
    calls = []
    run = types.SimpleNamespace(log=lambda values, step: calls.append((step, dict(values))))

    def init(**options):
        calls.append(options)
        return run

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    make("wandb").write(3, VALUES)
    assert (calls[0]["project"], calls[0]["name"]) == ("project", "experiment")
    assert calls[1][0] == 3
    assert calls[1][1]["train/loss_avg"] == 0.25


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_a_logger_that_is_not_installed_names_the_extra(name, make, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError) as caught:
        make(name)
    assert f"tao-skill-bank[{name}]" in caught.value.problems[0].fix


def test_other_ranks_write_nothing_and_open_nothing(make, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    make("console", "wandb", "tensorboard", rank=1).write(1, VALUES)
    assert list(tmp_path.iterdir()) == []
    assert caplog.messages == []
