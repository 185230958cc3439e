"""A training clip that cannot be decoded stops a training, or is skipped, named, stored and replayed on a resume."""

import re
import shutil
from pathlib import Path

import predict_training
import pytest
from predict_training import config, curve, diagnosis

from tao_skill_bank.runs import results
from tao_skill_bank.runs.run_directory import RunDirectory


def with_zeroed_frames(video):
    """Keep the index of a clip and make its frames undecodable."""
    content = video.read_bytes()
    start = content.index(b"mdat") + 4
    size = int.from_bytes(content[start - 8 : start - 4], "big") - 8
    video.write_bytes(content[:start] + bytes(size) + content[start + size :])


@pytest.fixture
def train_to(tmp_path, tiny_pipeline, robot_data):
    """Train a spec on clips of which one is broken; returns the run directory and the exit code."""
    data = tmp_path / "data"
    shutil.copytree(robot_data, data)
    broken = sorted((data / "train" / "videos").glob("*.mp4"))[1]
    whole = broken.read_bytes()
    with_zeroed_frames(broken)

    def start(name, *, repaired=False, **groups):
        if repaired:
            broken.write_bytes(whole)
        folder = tmp_path / name
        return folder, predict_training.run(config(tiny_pipeline, data, **groups), folder)

    start.name = broken.name
    return start


def skipped(folder):
    found = results.read(RunDirectory(folder)).skipped
    return [Path(re.search(r"\S+\.mp4", entry["message"])[0]).name for entry in found]


@pytest.mark.slow
def test_the_first_one_stops_the_training_by_default(train_to):
    folder, code = train_to("run")
    assert code == 3
    assert train_to.name in diagnosis(folder)["cause"]


@pytest.mark.slow
def test_more_than_the_share_ends_the_training_with_the_file(train_to):
    folder, code = train_to("run", dataset={"on_bad_sample": "skip"})
    assert code == 3
    assert diagnosis(folder)["code"] == "too_many_bad_samples"
    assert train_to.name in diagnosis(folder)["cause"]


@pytest.mark.slow
@pytest.mark.parametrize("caches", [True, False], ids=["latents", "decoded"])
def test_a_skipped_clip_is_named_and_a_resumed_training_equals_one_in_one_go(caches, train_to):
    dataset = {"on_bad_sample": "skip", "max_bad_share": 0.5, "cache_latents": caches}
    whole, code = train_to("whole", dataset=dataset, train={"epoch": 2})
    assert code == 0
    assert skipped(whole) == [train_to.name]
    parts, code = train_to("parts", dataset=dataset, train={"epoch": 2, "stop_epoch": 1})
    assert code == 0
    _, code = train_to("parts", repaired=True, dataset=dataset, train={"epoch": 2, "resume": True})
    assert code == 0
    assert skipped(parts) == [train_to.name]
    assert curve(parts) == pytest.approx(curve(whole), rel=1e-5)
