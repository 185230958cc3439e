"""Trained and evaluated from a real S3 server on loopback, and the results brought there."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import object_store
import pytest
from object_store import ObjectStore

CommandLine = Callable[..., tuple[int, dict[str, Any]]]
SMALL = (
    *("--set", "policy.model_name_or_path=builtin://tiny-cosmos-reason", "--set", "policy.lora={r: 4}"),
    *("--set", "train.epoch=1", "--set", "train.train_batch_per_replica=2", "--set", "train.train_policy.mini_batch=2"),
    *("--set", "train.train_policy.dataloader_num_workers=0", "--set", "train.param_dtype=float32"),
    *("--set", "custom.vision.nframes=4", "--set", "validation.enable=false", "--automl-policy", "off"),
)


@pytest.fixture
def remote_data(store: ObjectStore, sample_data: Path) -> ObjectStore:
    """The sample data in the store, with ten times as many clips as the annotations name."""
    store.put_folder(sample_data, "data")
    clip = next((sample_data / "train" / "videos").iterdir()).read_bytes()
    store.put_many({f"data/train/videos/unnamed_{number:03}.mp4": clip for number in range(108)})
    store.asked.clear()
    return store


@pytest.mark.slow
def test_a_training_and_its_evaluation_run_from_and_to_the_store(
    remote_data: ObjectStore, command_line: CommandLine, state_dir: Path
) -> None:
    store = remote_data
    named = json.loads(store.body("data/train/annotations.json"))[0]["video"]
    store.cuts[f"data/train/{named}"] = [100]  # the connection drops once
    store.asked.clear()
    code, document = command_line(
        *("run", "cosmos-rl", "train", "--train", "s3://lab/data/train", "--results-dir", "s3://lab/runs/first", *SMALL)
    )
    assert (code, document.get("state")) == (0, "COMPLETE"), document["errors"]
    downloads = store.downloads(".mp4")
    assert (len(set(downloads)), len(downloads)) == (12, 13)  # of 120
    manifest = json.loads(store.body("runs/first/upload.json"))
    assert (manifest["state"], manifest["job_id"]) == ("complete", document["job_id"])
    uploaded = set(store.keys("runs/first/"))
    assert uploaded == {f"runs/first/{name}" for name in [*manifest["files"], "upload.json"]}
    for name in ("status.jsonl", "metrics.jsonl", "logs/exit_code", "safetensors/epoch_1/adapter_config.json"):
        assert name in manifest["files"]
    assert not any(name.startswith("inputs/") for name in manifest["files"])
    assert "AKIA" not in json.dumps(manifest)

    store.asked.clear()
    code, document = command_line(
        *("run", "cosmos-rl", "evaluate", "--eval", "s3://lab/data/test", "--results-dir", "s3://lab/runs/second"),
        *("--set", "model.model_name=s3://lab/runs/first/safetensors/epoch_1", "--set", "model.enable_lora=true"),
        *("--set", "model.base_model_path=builtin://tiny-cosmos-reason", "--set", "model.dtype=float32"),
        *("--set", "vision.nframes=4", "--set", "generation.max_tokens=4", "--set", "task.type=its_directionality"),
    )
    assert (code, document.get("state")) == (0, "COMPLETE"), document["errors"]
    assert len(store.downloads(".mp4")) == 6
    results = json.loads(store.body("runs/second/metrics_summary.json"))
    assert results
    code, document = command_line("status", document["job_id"])
    assert document["upload"] == "complete"
    assert "s3://lab/runs/second" in document["message"]


@pytest.mark.slow
def test_an_upload_that_fails_leaves_the_result_and_can_be_made_good(
    remote_data: ObjectStore, command_line: CommandLine, sample_data: Path
) -> None:
    store = remote_data
    store.refused_writes = 10**6
    code, document = command_line(
        *("run", "cosmos-rl", "train", "--train", sample_data / "train", "--results-dir", "s3://lab/runs/first", *SMALL)
    )
    assert (code, document["state"]) == (6, "COMPLETE")
    (error,) = document["errors"]
    assert error["code"] == "upload_incomplete"
    assert document["next"] == [f"tao-skills data upload {document['job_id']}"]
    job = document["job_id"]
    code, document = command_line("status", job)
    assert (document["state"], document["upload"]) == ("COMPLETE", "incomplete")
    assert "INCOMPLETE" in document["message"]
    store.refused_writes = 0
    code, document = command_line("data", "upload", job)
    assert (code, document["state"]) == (0, "complete")
    assert json.loads(store.body("runs/first/upload.json"))["state"] == "complete"
    code, document = command_line("status", job)
    assert document["upload"] == "complete"


def test_wrong_keys_are_a_credential_problem_before_anything_is_launched(
    remote_data: ObjectStore, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.refuse_keys(remote_data, monkeypatch)
    code, document = command_line(
        *(
            "plan",
            "cosmos-rl",
            "train",
            "--train",
            "s3://lab/data/train",
            "--results-dir",
            "s3://lab/runs/first",
            *SMALL,
        )
    )
    assert code == 4
    assert [error["code"] for error in document["errors"]] == ["credential_rejected"]
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in json.dumps(document)
