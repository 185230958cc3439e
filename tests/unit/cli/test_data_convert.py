"""Data of other formats converted by hand, as processes, and planned with."""

import json
import subprocess
import sys

import pytest
from robot_datasets import version_2, version_3


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", "tao_skill_bank", *map(str, words)], capture_output=True, text=True, check=False
    )


def answer(*words, code=0):
    finished = run(*words, "--json")
    document = json.loads(finished.stdout)
    assert (finished.returncode, document["code"]) == (code, code), finished.stdout
    assert "Traceback" not in finished.stderr
    return document


@pytest.mark.slow
def test_a_conversion_says_what_it_wrote_and_what_it_left_out(tmp_path):
    version_2(tmp_path / "in")
    document = answer("data", "convert", tmp_path / "in", tmp_path / "out", "--to", "clips")
    assert (document["records"], document["media"]) == (2, 2)
    assert {"what": "feature action", "count": 13, "first": ""} in document["left_out"]
    shown = run("data", "convert", tmp_path / "in", tmp_path / "again", "--to", "clips")
    assert shown.stdout == f"{tmp_path / 'again'}\trecords=2\tmedia=2\n"
    assert "left out: feature action: 13\n" in shown.stderr
    assert "left out: files data/*.parquet: 2 (first: data/chunk-000/episode_000000.parquet)\n" in shown.stderr


@pytest.mark.slow
def test_a_plan_accepts_the_records_of_episodes(tmp_path):
    version_3(tmp_path / "in", files=((5, 8, 12), (6,)))
    asked = ("--question", "What is the robot doing?", "--answer", "{task}")
    answer("data", "convert", tmp_path / "in", tmp_path / "out", "--to", "llava", *asked)
    values = {
        "policy.model_name_or_path": "builtin://tiny-cosmos-reason", "validation.enable": "false",
        "train.train_batch_per_replica": 2, "train.train_policy.mini_batch": 1,
    }  # fmt: skip
    settings = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    skill = ("plan", "tao-finetune-cosmos-reason", "train", "--train", tmp_path / "out", "--automl-policy", "off")
    document = answer(*skill, *settings, "--full")
    about_data = [finding for finding in document["findings"] if finding["path"].startswith(str(tmp_path / "out"))]
    assert {finding["severity"] for finding in about_data} == {"info"}


@pytest.mark.slow
def test_a_plan_accepts_the_clips_of_episodes(tmp_path):
    version_3(tmp_path / "in", files=((17, 17), (17,)))
    answer("data", "convert", tmp_path / "in", tmp_path / "out", "--to", "clips")
    values = {
        "model.pretrained_model_name_or_path": "builtin://tiny-cosmos-predict", "validation.enable": "false",
        "train.mixed_precision": "no", "dataset.height": 32, "dataset.width": 48, "dataset.num_frames": 17,
        "dataset.fps": 10,
    }  # fmt: skip
    settings = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    skill = ("plan", "tao-finetune-cosmos-predict", "train", "--train", tmp_path / "out", "--automl-policy", "off")
    document = answer(*skill, *settings, "--full")
    about_data = [finding for finding in document["findings"] if finding["path"].startswith(str(tmp_path / "out"))]
    assert {finding["severity"] for finding in about_data} == {"info"}


@pytest.mark.parametrize(
    ("words", "code", "slug"),
    [
        (("--to", "words"), 2, "target_unknown"),
        (("--to", "llava"), 2, "template_missing"),
        (("--to", "clips", "--media", "move"), 2, "media_unknown"),
        (("--to", "clips", "--column", "question"), 2, "column_invalid"),
        (("--to", "clips", "--camera", "front"), 3, "camera_unknown"),
    ],
)
def test_what_cannot_be_converted_is_one_clear_error(tmp_path, words, code, slug):
    version_2(tmp_path / "in")
    (error,) = answer("data", "convert", tmp_path / "in", tmp_path / "out", *words, code=code)["errors"]
    assert error["code"] == slug
    assert error["fix"]
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_a_conflict(tmp_path):
    version_2(tmp_path / "in")
    (tmp_path / "out").mkdir()
    answer("data", "convert", tmp_path / "in", tmp_path / "out", "--to", "clips", code=7)
    assert list((tmp_path / "out").iterdir()) == []
