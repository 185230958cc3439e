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


def test_a_file_that_did_not_change_is_not_read_again(
    tmp_path: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"one")
    first = content_hash(file)
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert content_hash(file) == first
