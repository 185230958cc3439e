"""Data staged and results uploaded by hand, as processes."""

import json
import subprocess
import sys

import object_store
import pytest


def answer(*words, code=0):
    command = [sys.executable, "-m", "tao_skill_bank", *map(str, words), "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    document = json.loads(finished.stdout)
    assert (finished.returncode, document["code"]) == (code, code), finished.stdout
    assert "Traceback" not in finished.stderr
    return document


@pytest.fixture
def dataset(store):
    records = [{"id": "1", "video": "videos/1.mp4"}]
    store.put_many({f"data/videos/{number}.mp4": b"clip %d" % number for number in range(3)})
    store.put("data/annotations.json", json.dumps(records).encode())
    store.asked.clear()
    return store


@pytest.mark.slow
def test_a_dataset_is_staged_with_what_its_annotations_name(dataset, tmp_path):
    out = tmp_path / "out"
    document = answer("data", "stage", "s3://lab/data", out, "--annotations", "s3://lab/data/annotations.json")
    assert document["files"] == 2
    assert (out / "media" / "videos" / "1.mp4").read_bytes() == b"clip 1"
    assert json.loads((out / "annotations.json").read_text())[0]["id"] == "1"
    assert dataset.downloads(".mp4") == ["data/videos/1.mp4"]
    document = answer("data", "stage", "s3://lab/data", out, "--annotations", "s3://lab/data/annotations.json")
    assert document["downloaded"] == 0


@pytest.mark.slow
def test_a_folder_is_staged_whole(dataset, tmp_path):
    assert answer("data", "stage", "s3://lab/data/videos/", tmp_path / "out")["files"] == 3
    assert (tmp_path / "out" / "2.mp4").read_bytes() == b"clip 2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "code", "slug"),
    [
        ("ftp://lab/data", 2, "invalid_place"),
        ("/data/local", 2, "invalid_place"),
        ("hf://ORG/NAME", 2, "invalid_place"),
        ("s3://lab/nothing", 3, "remote_missing"),
        ("s3://nowhere-lab/data", 3, "bucket_missing"),
    ],
)
def test_a_place_that_cannot_be_staged_is_one_clear_error(dataset, tmp_path, uri, code, slug):
    (error,) = answer("data", "stage", uri, tmp_path / "out", code=code)["errors"]
    assert error["code"] == slug
    assert error["fix"]


@pytest.mark.slow
def test_wrong_keys_end_with_the_code_of_credentials(dataset, tmp_path, monkeypatch):
    object_store.refuse_keys(dataset, monkeypatch)
    (error,) = answer("data", "stage", "s3://lab/data", tmp_path / "out", code=4)["errors"]
    assert error["code"] == "credential_rejected"


def test_an_unknown_job_has_nothing_to_upload():
    (error,) = answer("data", "upload", "cosmos-rl-train-000000000000", code=5)["errors"]
    assert error["fix"]
