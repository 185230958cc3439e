"""Of a tar archive in a store come the named members; how, follows from what costs less."""

import gzip
import json
import os

import object_store
import pytest
from hostile_archives import BOMBS

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.staging import archives, blobs, inputs

LONG = "a" * 90 + "/" + "b" * 90 + ".mp4"


@pytest.fixture
def files():
    return {f"videos/{number:02}.mp4": os.urandom(200_000 + number) for number in range(20)} | {LONG: b"long" * 5000}


def named(tmp_path, names):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps([{"id": name, "video": name} for name in names]))
    return f"#named-in={path}"


@pytest.fixture
def cheap_headers(monkeypatch):
    """As if round trips cost nothing: even small members are worth their headers."""
    monkeypatch.setattr(archives, "BYTES_PER_HEADER", 1)
    monkeypatch.setattr(archives, "SMALL_BYTES", 1000)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap_headers")
def test_of_a_plain_archive_only_headers_and_named_members_come(store, files, tmp_path):
    store.put("media.tar", object_store.tar_of(files))
    chosen = ["videos/03.mp4", LONG]
    staged = inputs.stage("s3://lab/media.tar" + named(tmp_path, chosen), tmp_path / "media")
    assert {name: (tmp_path / "media" / name).read_bytes() for name in chosen} == {name: files[name] for name in chosen}
    assert staged.downloaded == staged.num_bytes == sum(len(files[name]) for name in chosen)
    asked = [tuple(map(int, one.range[6:].split("-"))) for one in store.asked if one.range]
    assert sum(end - start + 1 for start, end in asked) < 700_000  # of 4 MB

    store.asked.clear()
    inputs.stage("s3://lab/media.tar" + named(tmp_path, ["videos/04.mp4", *chosen]), tmp_path / "more")
    assert len(store.downloads()) == 1  # the index is known
    assert (tmp_path / "more" / "videos/04.mp4").read_bytes() == files["videos/04.mp4"]


def test_an_archive_of_small_members_comes_whole_and_once(store, files, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SMALL_BYTES", 1000)
    body = object_store.tar_of(files)
    store.put("media.tar", body)
    staged = inputs.stage("s3://lab/media.tar" + named(tmp_path, ["videos/03.mp4"]), tmp_path / "media")
    assert staged.downloaded == len(body)
    store.asked.clear()
    staged = inputs.stage("s3://lab/media.tar" + named(tmp_path, ["videos/04.mp4"]), tmp_path / "more")
    assert (staged.downloaded, store.downloads()) == (0, [])
    assert (tmp_path / "more" / "videos/04.mp4").read_bytes() == files["videos/04.mp4"]


def test_a_compressed_archive_comes_whole_and_goes_on_after_a_break(store, files, tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(blobs, "CHUNK_BYTES", 2**20)
    store.put("media.tar.gz", gzip.compress(object_store.tar_of(files)))
    store.cuts["media.tar.gz"] = [2**20, 1000]
    inputs.stage("s3://lab/media.tar.gz" + named(tmp_path, ["videos/07.mp4"]), tmp_path / "media")
    assert (tmp_path / "media" / "videos/07.mp4").read_bytes() == files["videos/07.mp4"]


@pytest.mark.usefixtures("cheap_headers")
@pytest.mark.parametrize("name", ["media.tar", "media.tar.gz"])
def test_members_that_are_not_there_are_named(store, files, tmp_path, name):
    body = object_store.tar_of(files)
    store.put(name, gzip.compress(body) if name.endswith("gz") else body)
    with pytest.raises(BlockedError) as caught:
        inputs.stage(f"s3://lab/{name}" + named(tmp_path, ["videos/03.mp4", "videos/99.mp4"]), tmp_path / "media")
    assert caught.value.problems[0].code == "media_missing"
    assert "videos/99.mp4" in str(caught.value)


@pytest.mark.usefixtures("cheap_headers")
@pytest.mark.parametrize("name", ["media.tar", "media.tar.gz"])
def test_what_is_no_archive_is_one_clear_error(store, tmp_path, name):
    store.put(name, b"no archive" * 1000)
    with pytest.raises(BlockedError) as caught:
        inputs.stage(f"s3://lab/{name}" + named(tmp_path, ["a.mp4"]), tmp_path / "media")
    assert caught.value.problems[0].code == "archive_unreadable"


@pytest.mark.usefixtures("cheap_headers")
@pytest.mark.parametrize("bomb", ["sparse", "more than the archive holds", "a long name of gigabytes", "zeros in gzip"])
@pytest.mark.parametrize("name", ["media.tar", "media.tar.gz"])
def test_an_archive_that_would_write_more_than_it_can_hold_is_refused_and_writes_nothing(store, tmp_path, name, bomb):
    store.put(name, BOMBS[bomb]())
    with pytest.raises(BlockedError) as caught:
        inputs.stage(f"s3://lab/{name}" + named(tmp_path, ["a.mp4"]), tmp_path / "media")
    assert caught.value.problems[0].code == "archive_unreadable"
    assert [path for path in blobs.folder().rglob("*.mp4*") if path.is_file()] == []


def test_large_members_are_worth_their_headers_and_small_ones_are_not():
    gib, mib = 2**30, 2**20
    assert not archives._is_whole_cheaper(40 * gib, 100 * mib, 40)
    assert archives._is_whole_cheaper(4 * gib, mib, 40)
    assert archives._is_whole_cheaper(4 * gib, 10 * mib, 390)
