import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import media_pool
import pytest

from tao_skill_bank.data import header_cache, headers
from tao_skill_bank.data.header_cache import HeaderCache
from tao_skill_bank.data.headers import Budget, MediaFile
from tao_skill_bank.data.media.header import read_header

# A child whose decoder sleeps at files called hang, and dies at files called crash.
CHILD = """#!{python}
import os, sys, time
from tao_skill_bank.data import header_child
read = header_child.read_header
def read_header(path, kind):
    if path.stem == "hang":
        time.sleep(600)
    if path.stem == "crash":
        os._exit(9)
    return read(path, kind)
header_child.read_header = read_header
header_child.main(sys.stdin)
"""


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def poor_decoder(tmp_path, monkeypatch):
    child = tmp_path / "python"
    child.write_text(CHILD.format(python=sys.executable))
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))
    monkeypatch.setattr(headers, "FILE_SECONDS", 1.0)


@pytest.fixture
def clips(tmp_path):
    """Write clips of different lengths under some names; returns them as files."""

    def write(*names):
        paths = [
            media_pool.clip(tmp_path / name, [media_pool.numbered(0)] * (position + 2))
            for position, name in enumerate(names)
        ]
        return [MediaFile("video", str(path)) for path in paths]

    return write


def look(files, budget=None):
    with ThreadPoolExecutor(2) as pool:
        return headers.look(files, pool, budget or Budget())


def no_children(monkeypatch):
    """Let a child that is started fail the test."""
    monkeypatch.setattr(headers.subprocess, "Popen", lambda *_, **__: pytest.fail("a child is started"))


def test_every_header_is_read_as_it_is_in_one_process(clips, tmp_path):
    files = clips("a.mp4", "b.mp4", "c d.mp4")
    found = look([*files, *files])
    assert found.headers == {file: read_header(tmp_path / Path(file.path).name, "video") for file in files}
    assert (found.broken, found.num_left) == ({}, 0)


def test_a_broken_file_costs_only_itself(clips, tmp_path):
    files = clips("a.mp4", "b.mp4")
    (tmp_path / "pointer.mp4").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "half.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:600])
    names = ("pointer.mp4", "half.mp4", "absent.mp4")
    found = look([files[0], *(MediaFile("video", str(tmp_path / name)) for name in names), files[1]])
    codes = {Path(file.path).name: error.problems[0].code for file, error in found.broken.items()}
    assert codes == {"pointer.mp4": "media_lfs_pointer", "half.mp4": "media_unreadable", "absent.mp4": "missing_media"}
    assert list(found.headers) == files


def test_files_that_hang_or_crash_a_decoder_are_named_and_the_others_are_read(clips, poor_decoder):
    files = clips("a.mp4", "hang.mp4", "b.mp4", "crash.mp4", "c.mp4")
    found = look(files)
    assert list(found.headers) == [files[0], files[2], files[4]]
    assert [error.problems[0].code for error in found.broken.values()] == ["media_hangs", "media_unreadable"]
    assert "exit code 9" in str(found.broken[files[3]])


def test_a_file_that_hangs_until_the_budget_ends_is_left_and_not_blamed(clips, poor_decoder, monkeypatch):
    monkeypatch.setattr(headers, "FILE_SECONDS", 60.0)
    files = clips("hang.mp4", "a.mp4")
    found = look(files, Budget(2.0))
    assert (found.headers, found.broken, found.num_left) == ({}, {}, 2)


def test_without_time_nothing_is_looked_at(clips, monkeypatch):
    no_children(monkeypatch)
    assert look(clips("a.mp4", "b.mp4"), Budget(0)).num_left == 2


def test_looks_share_one_budget(clips):
    budget = Budget(100)
    look(clips("a.mp4"), budget)
    assert 0 < budget.left < 100


def test_a_second_look_starts_no_process(clips, monkeypatch):
    files = clips("a.mp4", "b.mp4")
    first = look(files)
    no_children(monkeypatch)
    assert look(files) == first


def test_a_file_of_another_time_is_read_again(clips, tmp_path):
    files = clips("a.mp4", "b.mp4")
    look(files)
    os.utime(files[0].path, ns=(1, 1))
    wrong = replace(read_header(tmp_path / "b.mp4", "video"), num_frames=999)
    HeaderCache().store([(header_cache.key(*files[1]), wrong)])
    found = look(files)
    assert found.headers[files[0]] == read_header(tmp_path / "a.mp4", "video")
    assert found.headers[files[1]] == wrong, "this one comes from the cache"


def test_a_file_that_was_broken_is_looked_at_again(clips, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"")
    os.utime(path, ns=(1, 1))
    assert look([MediaFile("video", str(path))]).broken
    files = clips("a.mp4")
    assert look(files).headers


def test_pictures_are_read_as_pictures_and_clips_as_clips(tmp_path):
    from PIL import Image

    Image.fromarray(media_pool.corners()).save(tmp_path / "a.png")
    files = [MediaFile("image", str(tmp_path / "a.png")), MediaFile("video", str(tmp_path / "a.png"))]
    for _ in range(2):
        found = look(files)
        assert (found.headers[files[0]].width, found.headers[files[0]].height) == (96, 64)
        assert found.broken[files[1]].problems[0].code == "media_is_picture"
