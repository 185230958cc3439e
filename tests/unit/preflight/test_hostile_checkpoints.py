"""A plan on a checkpoint folder of somebody else runs nothing that lies in it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("av")

import hostile
import torch

from tao_skill_bank.samples import robot, vlm

REASON = ("tao-finetune-cosmos-reason", "policy.model_name_or_path=builtin://tiny-cosmos-reason")
PREDICT = ("tao-finetune-cosmos-predict", "model.pretrained_model_name_or_path=builtin://tiny-cosmos-predict")


FIXTURE = Path(__file__).parents[2] / "fixtures" / "version_1" / "checkpoint_reason"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of which every file that is or holds a pickle makes a folder when it is read."""
    made = shutil.copytree(FIXTURE, tmp_path / "theirs" / "checkpoints" / "epoch_1")
    for name in (".metadata", "__0.metadata"):
        hostile.write(made / name, tmp_path / "mark")
    for name in ("__0_0.distcp", "random_0.pt"):
        torch.save(hostile.Hostile(tmp_path / "mark"), made / name)
    return made


def plan(skill: str, model: str, data: Path, folder: Path) -> dict[str, Any]:
    arguments = [
        *("plan", skill, "train", "--train", data / "train", "--eval", data / "val", "--automl-policy", "off"),
        *("--set", model, "--set", f"train.resume={folder}", "--set", "train.epoch=2"),
        *("--results-dir", folder.parents[2] / "mine", "--option", "device=cpu", "--json", "--full"),
    ]
    command = [sys.executable, "-m", "tao_skill_bank", *map(str, arguments)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in finished.stderr, finished.stderr
    document: dict[str, Any] = json.loads(finished.stdout)
    return document


def findings(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["code"]: finding for finding in document["findings"]}


@pytest.mark.slow
def test_a_plan_of_cosmos_reason_runs_no_pickle(folder: Path, tmp_path: Path) -> None:
    data = vlm.make(tmp_path / "clips", train=24, val=9, test=9)
    found = findings(plan(*REASON, data, folder))
    assert found["resume"]["severity"] == "info"
    assert found["resume_changed"]["severity"] == "blocking"  # so the folder was looked into
    assert not (tmp_path / "mark").exists()


@pytest.mark.slow
def test_a_plan_of_cosmos_predict_runs_no_pickle(folder: Path, tmp_path: Path) -> None:
    data = robot.make(tmp_path / "robot", train=4, val=2, test=2)
    found = findings(plan(*PREDICT, data, folder))
    assert found["resume"]["severity"] == "info"
    assert not (tmp_path / "mark").exists()
