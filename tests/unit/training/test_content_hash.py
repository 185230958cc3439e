"""The hash of a file follows its content, and a file that did not change is not read again."""

import hashlib
import os
from pathlib import Path

import pytest

from tao_skill_bank.training.content_hash import content_hash


def test_a_files_hash_follows_its_content(tmp_path: Path, state_dir: Path) -> None:
    file, twin = tmp_path / "a.mp4", tmp_path / "b.mp4"
    file.write_bytes(b"one")
    twin.write_bytes(b"one")
    first = content_hash(file)
    assert first == content_hash(twin) == hashlib.sha256(b"one").hexdigest()
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))  # a clock that does not tick between two writes
    assert content_hash(file) == hashlib.sha256(b"two").hexdigest()


def test_a_hash_needs_no_cache_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"one")
    monkeypatch.setenv("TAO_STATE_DIR", str(file / "state"))
    assert content_hash(file) == hashlib.sha256(b"one").hexdigest()


@pytest.mark.parametrize("text", ["", "0" * 63, "é" * 64, "g" * 64])
def test_a_cached_hash_that_is_none_is_computed_again(tmp_path: Path, state_dir: Path, text: str) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"one")
    content_hash(file)
    (memo,) = (path for path in (state_dir / "cache" / "hashes").rglob("*") if path.is_file())
    memo.write_text(text, encoding="utf-8")
    assert content_hash(file) == hashlib.sha256(b"one").hexdigest() == memo.read_text()


def test_a_file_that_did_not_change_is_not_read_again(
    tmp_path: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"one")
    first = content_hash(file)
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert content_hash(file) == first
