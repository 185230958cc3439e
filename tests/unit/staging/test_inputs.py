"""Inputs come from a real S3 server once, whole, and only as far as they are named."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import object_store
import pytest

from tao_skill_bank.errors import BackendError, BlockedError
from tao_skill_bank.staging import blobs, inputs, stores


def annotate(path, names):
    path.write_text(json.dumps([{"id": name, "video": name, "conversations": []} for name in names]))
    return path


@pytest.fixture
def dataset(store, tmp_path):
    """40 small clips, 10 of them named."""
    store.put_many({f"data/videos/{number:03}.mp4": f"clip {number}".encode() * 100 for number in range(40)})
    names = [f"videos/{number:03}.mp4" for number in range(0, 40, 4)]
    annotation = annotate(tmp_path / "annotations.json", names)
    store.asked.clear()
    return f"s3://lab/data#named-in={annotation}"


@pytest.mark.slow
def test_only_the_named_media_are_downloaded(store, dataset, tmp_path):
    staged = inputs.stage(dataset, tmp_path / "media")
    assert (staged.files, staged.downloaded) == (10, staged.num_bytes)
    assert len(store.downloads(".mp4")) == 10
    assert len(store.asked) == 11  # one page of names
    found = sorted(path for path in (tmp_path / "media").rglob("*") if path.is_file())
    assert len(found) == 10
    assert (tmp_path / "media" / "videos" / "036.mp4").read_bytes() == b"clip 36" * 100


@pytest.mark.slow
def test_what_is_here_is_not_downloaded_again(store, dataset, tmp_path):
    inputs.stage(dataset, tmp_path / "media")
    store.asked.clear()
    staged = inputs.stage(dataset, tmp_path / "other")
    assert staged.downloaded == 0
    assert store.downloads() == []
    assert (tmp_path / "other").resolve() == (tmp_path / "media").resolve()


@pytest.mark.slow
def test_a_change_in_the_store_is_seen_by_the_next_job_and_not_by_the_running_one(store, dataset, tmp_path):
    inputs.stage(dataset, tmp_path / "running")
    store.put("data/videos/008.mp4", b"another clip")
    store.asked.clear()
    inputs.stage(dataset, tmp_path / "next")
    assert store.downloads() == ["data/videos/008.mp4"]
    assert (tmp_path / "running" / "videos" / "008.mp4").read_bytes() == b"clip 8" * 100
    assert (tmp_path / "next" / "videos" / "008.mp4").read_bytes() == b"another clip"


def test_a_file_and_a_folder_are_staged_whole(store, tmp_path):
    store.put("models/a/config.json", b"{}")
    store.put("models/a/part/weights.safetensors", b"weights")
    store.put("models/ab/other.json", b"{}")
    inputs.stage("s3://lab/models/a", tmp_path / "model")
    names = [path.relative_to(tmp_path / "model").as_posix() for path in (tmp_path / "model").rglob("*.*")]
    assert sorted(names) == ["config.json", "part/weights.safetensors"]
    inputs.stage("s3://lab/models/a/config.json", tmp_path / "config.json")
    assert (tmp_path / "config.json").read_bytes() == b"{}"


@pytest.mark.slow
def test_media_that_are_not_there_are_named_before_anything_is_downloaded(store, dataset, tmp_path):
    annotate(tmp_path / "annotations.json", ["videos/000.mp4", "videos/nowhere.mp4"])
    with pytest.raises(BlockedError) as caught:
        inputs.stage(dataset, tmp_path / "media")
    assert caught.value.problems[0].code == "media_missing"
    assert "videos/nowhere.mp4" in str(caught.value)
    assert store.downloads() == []
    assert not (tmp_path / "media").exists()


@pytest.mark.slow
def test_a_name_that_leaves_the_media_path_is_refused(dataset, tmp_path):
    annotate(tmp_path / "annotations.json", ["../secret.mp4"])
    with pytest.raises(BlockedError, match=r"\.\./secret\.mp4"):
        inputs.stage(dataset, tmp_path / "media")


@pytest.mark.parametrize("name", ["../../evil.mp4", "videos/../../evil.mp4"])
def test_a_key_that_leaves_the_folder_makes_no_file_anywhere(name):
    entries = [stores.Entry(f"s3://lab/data/{name}", 4, "etag")]
    with pytest.raises(BlockedError, match="points outside the folder"):
        stores.relative(entries, "s3://lab/data")


@pytest.mark.slow
def test_a_dropped_connection_is_gone_on_with_where_it_ended(store, tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "FIRST_WAIT_SECONDS", 0.01)
    body = os.urandom(20 * 2**20)
    store.put("big.bin", body)
    store.asked.clear()
    store.cuts["big.bin"] = [2**23, 1000]  # the first chunk comes, the second breaks off
    inputs.stage("s3://lab/big.bin", tmp_path / "big.bin")
    assert (tmp_path / "big.bin").read_bytes() == body
    asked = [one.range for one in store.asked if one.method == "GET"]
    assert asked == ["bytes=0-8388607", "bytes=8388608-16777215", "bytes=8388608-16777215", "bytes=16777216-20971519"]


@pytest.mark.slow
def test_a_download_that_was_killed_is_gone_on_with_by_the_next_process(store, tmp_path):
    body = os.urandom(20 * 2**20)
    store.put("big.bin", body)
    store.asked.clear()
    store.cuts["big.bin"] = [2**23, *[10] * 200]
    command = [sys.executable, "-m", "tao_skill_bank.training.fetch", "s3://lab/big.bin", str(tmp_path / "big.bin")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    while sum("8388608-" in (one.range or "") for one in list(store.asked)) < 1:
        assert process.poll() is None
        threading.Event().wait(0.02)
    process.kill()
    process.wait()
    assert not (tmp_path / "big.bin").exists()
    store.cuts.clear()
    store.asked.clear()
    inputs.stage("s3://lab/big.bin", tmp_path / "big.bin")
    assert (tmp_path / "big.bin").read_bytes() == body
    assert next(one.range for one in store.asked if one.method == "GET") == "bytes=8388608-16777215"


def test_a_connection_that_breaks_again_and_again_ends_in_one_clear_error(store, tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(blobs, "MAX_ATTEMPTS", 2)
    store.put("big.bin", bytes(1000))
    store.cuts["big.bin"] = [10] * 100
    with pytest.raises(BackendError) as caught:
        inputs.stage("s3://lab/big.bin", tmp_path / "big.bin")
    assert caught.value.problems[0].code == "storage_unreachable"


def test_a_wrong_byte_is_noticed_and_not_taken(store, tmp_path):
    store.put("clip.mp4", b"right bytes")
    store.spoiled.add("clip.mp4")
    with pytest.raises(BlockedError) as caught:
        inputs.stage("s3://lab/clip.mp4", tmp_path / "clip.mp4")
    assert caught.value.problems[0].code == "checksum_mismatch"
    assert not (tmp_path / "clip.mp4").exists()
    store.spoiled.clear()
    inputs.stage("s3://lab/clip.mp4", tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == b"right bytes"


def test_an_encrypted_file_whose_etag_is_no_md5_is_taken(store, tmp_path, monkeypatch):
    original = stores.S3._entry_of

    def entry_of(self, uri, size, etag, head):
        encrypted = {**head, "ServerSideEncryption": "aws:kms"} if head else {}
        return original(self, uri, size, hashlib.md5(etag.encode()).hexdigest(), encrypted)

    monkeypatch.setattr(stores.S3, "_entry_of", entry_of)
    store.put("data/clip.mp4", b"clip")
    inputs.stage("s3://lab/data", tmp_path / "data")
    assert (tmp_path / "data" / "clip.mp4").read_bytes() == b"clip"
    assert store.downloads() == ["data/clip.mp4"]


@pytest.mark.slow
def test_two_jobs_at_once_download_everything_once(store, dataset, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(inputs.stage, dataset, tmp_path / name) for name in ("one", "two")]:
            future.result()
    assert len(store.downloads(".mp4")) == 10
    assert (tmp_path / "one").resolve() == (tmp_path / "two").resolve()


@pytest.mark.parametrize(
    ("uri", "code"), [("s3://nowhere-lab/a.bin", "bucket_missing"), ("s3://lab/nowhere.bin", "remote_missing")]
)
def test_a_missing_bucket_is_told_from_a_missing_file(store, tmp_path, uri, code):
    with pytest.raises(BlockedError) as caught:
        inputs.stage(uri, tmp_path / "a.bin")
    assert caught.value.problems[0].code == code
    assert caught.value.exit_code == 3


@pytest.mark.slow
def test_wrong_keys_are_told_as_a_credential(store, dataset, tmp_path, monkeypatch):
    object_store.refuse_keys(store, monkeypatch)
    with pytest.raises(BlockedError) as caught:
        inputs.stage(dataset, tmp_path / "media")
    assert (caught.value.problems[0].code, caught.value.exit_code) == ("credential_rejected", 4)
    assert "AKIAWRONG" not in str(caught.value.problems)


@pytest.mark.slow
def test_no_keys_are_told_as_a_credential(store, dataset, tmp_path, monkeypatch):
    for name in object_store.KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(BlockedError) as caught:
        inputs.stage(dataset, tmp_path / "media")
    assert (caught.value.problems[0].code, caught.value.exit_code) == ("credential_missing", 4)


@pytest.mark.slow
def test_an_endpoint_that_is_down_is_named(store, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(BackendError, match=r"http://127\.0\.0\.1:9"):
        inputs.stage(dataset, tmp_path / "media")


@pytest.mark.slow
def test_a_disk_without_room_is_told_before_the_download(store, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "SPARE_BYTES", 2**60)
    with pytest.raises(BlockedError) as caught:
        inputs.stage(dataset, tmp_path / "media")
    assert caught.value.problems[0].code == "disk_too_small"
    assert store.downloads() == []


def test_a_folder_of_the_user_is_never_replaced(store, tmp_path):
    store.put("clip.mp4", b"clip")
    (tmp_path / "clip.mp4").write_text("mine")
    with pytest.raises(BlockedError):
        inputs.stage("s3://lab/clip.mp4", tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_text() == "mine"


@pytest.mark.slow
def test_a_folder_that_lists_many_more_than_are_named_is_not_read_to_its_end(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "LIST_PAGE", 10)
    store.put_many({f"data/{number:03}.mp4": b"clip %d" % number for number in range(100)})
    annotation = annotate(tmp_path / "a.json", [f"{number:03}.mp4" for number in range(0, 100, 9)])
    store.asked.clear()
    staged = inputs.stage(f"s3://lab/data#named-in={annotation}", tmp_path / "media")
    assert staged.files == 12
    assert sum("list-type" in one.query for one in store.asked) == 1
    assert sum(one.method == "HEAD" for one in store.asked) == 10
