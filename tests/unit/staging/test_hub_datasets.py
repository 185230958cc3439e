"""hf://datasets/ORG/NAME/PATH comes from a stub of the Hub on loopback."""

import json
import os

import dataset_hub
import pytest

from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.staging import blobs, inputs

DATASET = "hf://datasets/acme/robot"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serve a dataset of 12 clips, small and large ones."""
    folder = tmp_path / "served"
    (folder / "videos").mkdir(parents=True)
    for number in range(12):
        (folder / "videos" / f"{number}.mp4").write_bytes(os.urandom(500 if number % 2 else 5000))
    with dataset_hub.serving(folder) as server:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


def test_only_the_named_clips_come_and_their_checksums_are_compared(hub, tmp_path):
    names = ["videos/3.mp4", "videos/4.mp4"]
    (tmp_path / "a.json").write_text(json.dumps([{"id": name, "video": name} for name in names]))
    staged = inputs.stage(f"{DATASET}#named-in={tmp_path / 'a.json'}", tmp_path / "media")
    assert staged.files == 2
    for name in names:
        assert (tmp_path / "media" / name).read_bytes() == (hub.folder / name).read_bytes()
    assert {name for name, _ in hub.ranges} == set(names)
    inputs.stage(f"{DATASET}#named-in={tmp_path / 'a.json'}", tmp_path / "again")
    assert len(hub.ranges) == 2


def test_a_revision_may_be_named_and_a_folder_comes_whole(hub, tmp_path):
    staged = inputs.stage(f"{DATASET}@main/videos", tmp_path / "videos")
    assert staged.files == 12
    assert (tmp_path / "videos" / "11.mp4").read_bytes() == (hub.folder / "videos" / "11.mp4").read_bytes()


def test_a_dropped_connection_is_gone_on_with(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(blobs, "CHUNK_BYTES", 2000)
    hub.cuts["videos/4.mp4"] = [10_000, 100]
    inputs.stage(f"{DATASET}/videos/4.mp4", tmp_path / "4.mp4")
    assert (tmp_path / "4.mp4").read_bytes() == (hub.folder / "videos" / "4.mp4").read_bytes()
    ranges = [asked for _, asked in hub.ranges]
    assert ranges == ["bytes=0-1999", "bytes=2000-3999", "bytes=2000-3999", "bytes=4000-4999"]


@pytest.mark.parametrize(
    ("uri", "code", "exit_code"),
    [
        ("hf://datasets/acme/gated/a.mp4", "credential_rejected", 4),
        ("hf://datasets/acme/nothing/a.mp4", "remote_missing", 3),
        (f"{DATASET}/videos/99.mp4", "remote_missing", 3),
    ],
)
def test_gated_and_missing_datasets_are_told_apart(hub, tmp_path, uri, code, exit_code):
    with pytest.raises(TaoSkillsError) as caught:
        inputs.stage(uri, tmp_path / "a.mp4")
    assert (caught.value.problems[0].code, caught.value.exit_code) == (code, exit_code)
    if exit_code == 4:
        assert "https://huggingface.co/datasets/acme/gated" in caught.value.problems[0].fix
