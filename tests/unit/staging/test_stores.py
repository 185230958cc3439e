"""A store of which only what every fsspec file system has is known, as gs:// is: a folder stands in for the bucket."""

import json

import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.preflight.storage import stores as storage
from tao_skill_bank.staging import inputs, places, store_errors, stores
from tao_skill_bank.staging.stores import Store
from tao_skill_bank.staging.uploads import Uploader


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    folder = tmp_path / "buckets"
    (folder / "lab" / "data" / "videos").mkdir(parents=True)
    for number in range(3):
        (folder / "lab" / "data" / "videos" / f"{number}.mp4").write_bytes(b"clip %d" % number)
    files = DirFileSystem(str(folder), LocalFileSystem(auto_mkdir=True))
    monkeypatch.setitem(stores.OPENERS, "gs", lambda: Store("gs", files))
    return folder / "lab"


def test_named_media_and_folders_come_from_any_store(bucket, tmp_path):
    annotation = tmp_path / "a.json"
    annotation.write_text(json.dumps([{"id": "1", "video": "videos/1.mp4"}]))
    staged = inputs.stage(f"gs://lab/data#named-in={annotation}", tmp_path / "media")
    assert (staged.files, (tmp_path / "media" / "videos" / "1.mp4").read_bytes()) == (1, b"clip 1")
    assert inputs.stage("gs://lab/data", tmp_path / "all").files == 3
    assert inputs.stage("gs://lab/data/videos/2.mp4", tmp_path / "2.mp4").num_bytes == 6
    with pytest.raises(BlockedError) as caught:
        inputs.stage("gs://lab/nothing", tmp_path / "nothing")
    assert caught.value.problems[0].code == "remote_missing"


def test_names_of_a_folder_are_listed_for_the_checks_before_a_launch(bucket):
    existing = storage.existing(["gs://lab/data/videos"])
    assert sorted(existing) == sorted(hash(f"gs://lab/data/videos/{number}.mp4") for number in range(3))


def test_results_go_to_any_store(bucket, tmp_path):
    run = tmp_path / "run"
    (run / "logs").mkdir(parents=True)
    (run / "plan.json").write_text("{}")
    assert Uploader(run, "gs://lab/runs/one", "job-1", ()).finish().state == "complete"
    assert json.loads((bucket / "runs" / "one" / "upload.json").read_text())["state"] == "complete"


def test_a_client_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    def absent():
        raise ImportError("No module named 'gcsfs'")

    monkeypatch.setitem(stores.OPENERS, "gs", absent)
    with pytest.raises(BlockedError) as caught:
        stores.of("gs://lab/data")
    assert caught.value.problems[0].fix == "pip install 'tao-skill-bank[gs]'"


@pytest.mark.parametrize(
    ("error", "code", "is_worth_retrying"),
    [
        (PermissionError("Access Denied"), "credential_rejected", False),
        (FileNotFoundError("key"), "remote_missing", False),
        (OSError(28, "No space left on device"), "disk_too_small", False),
        (ConnectionResetError("reset"), "storage_unreachable", True),
        (OSError("503 SlowDown"), "storage_unreachable", True),
        (TimeoutError(), "storage_unreachable", True),
    ],
)
def test_what_went_wrong_decides_whether_it_is_tried_again(error, code, is_worth_retrying):
    assert store_errors.explain(error, "s3://lab/data").problems[0].code == code
    assert store_errors.is_worth_retrying(error) is is_worth_retrying


@pytest.mark.parametrize(
    ("uri", "is_fine"),
    [
        ("s3://lab/data", True),
        ("s3://", False),
        ("s3://lab/a#named-in=b", False),
        ("hf://datasets/acme/robot@main/videos", True),
        ("hf://datasets/acme", False),
        ("hf://acme/model", False),
    ],
)
def test_a_name_tells_whether_it_can_be_a_place(uri, is_fine):
    assert (places.problem_of(uri) is None) is is_fine
