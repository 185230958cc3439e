import os

import pytest

from tao_skill_bank.data.check import contents


@pytest.fixture
def write(tmp_path):
    def make(name, data):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    return make


def codes(tmp_path, files):
    return [
        (found.code, found.evidence["files"]) for found in contents.findings(str(tmp_path), contents.equal_files(files))
    ]


def test_copies_are_found_by_content_within_and_between_splits(tmp_path, write):
    start = bytes(contents.HEAD_BYTES)
    train = [write("train/a", start + b"1"), write("train/b", start + b"2"), write("train/c", start + b"1")]
    val = [write("val/x", start + b"2"), write("val/y", start + b"3"), write("val/z", b"1")]
    assert codes(tmp_path, {"train": train, "val": val}) == [
        ("split_leak", ["val/x = train/b"]),
        ("media_repeated", ["train/c = train/a"]),
    ]


def test_a_file_that_two_splits_name_is_a_leak(tmp_path, write):
    path = write("a", b"1")
    assert codes(tmp_path, {"train": [path, path], "test": [path]}) == [("split_leak", ["a = a"])]


def test_every_pair_of_splits_is_compared(tmp_path, write):
    files = {split: [write(f"{split}/a", b"same")] for split in ("train", "val", "test")}
    found = contents.findings(str(tmp_path), contents.equal_files(files))
    assert [finding.evidence["splits"] for finding in found] == [["train", "val"], ["train", "test"], ["val", "test"]]


def test_empty_and_absent_files_are_no_copies(tmp_path, write):
    paths = [write("a", b""), write("b", b""), str(tmp_path / "absent"), str(tmp_path / "absent too")]
    assert contents.equal_files({"": paths}) == []


def test_hard_links_are_copies(tmp_path, write):
    os.link(write("a", b"1"), tmp_path / "b")
    assert codes(tmp_path, {"": [str(tmp_path / "a"), str(tmp_path / "b")]}) == [("media_repeated", ["b = a"])]
