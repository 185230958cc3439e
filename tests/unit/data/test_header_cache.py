import sqlite3
import threading

import pytest

from tao_skill_bank.data import header_cache
from tao_skill_bank.data.header_cache import HeaderCache
from tao_skill_bank.data.media.header import Header

HEADER = Header(96, 64, 20, 2.0, 10.0, is_variable=True, num_present=19)
KEY = ("video", b"/data/\xff.mp4", 1234, 10**18 + 1)


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def file():
    HeaderCache().store([(KEY, HEADER)])
    return next(header_cache.folder().glob("*.sqlite"))


def found(key=KEY):
    with HeaderCache().reading() as reader:
        return reader.find(key)


def test_a_header_is_found_as_it_was_stored(file):
    assert found() == HEADER


@pytest.mark.parametrize("position", range(4))
def test_another_kind_path_size_or_time_is_another_file(file, position):
    other = [("image"), b"/data/b.mp4", 1235, 10**18]
    key = tuple(other[index] if index == position else value for index, value in enumerate(KEY))
    assert found(key) is None


def test_without_a_cache_nothing_is_found():
    assert found() is None


@pytest.mark.parametrize("data", [b"", b"not a database" * 100, b"SQLite format 3\0" + bytes(200)])
def test_a_broken_cache_is_empty_and_replaced(file, data):
    file.write_bytes(data)
    assert found() is None
    HeaderCache().store([(KEY, HEADER)])
    assert found() == HEADER


def test_a_cache_with_other_content_is_not_believed(file):
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE headers SET width = 'wide'")
    assert found() is None


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "state").write_text("a file where the folder would be")
    HeaderCache().store([(KEY, HEADER)])
    assert found() is None


def test_a_cache_that_is_too_large_starts_again(file, monkeypatch):
    monkeypatch.setattr(header_cache, "MAX_BYTES", 10)
    other = ("video", b"/data/b.mp4", 1, 1)
    HeaderCache().store([(other, HEADER)])
    assert (found(), found(other)) == (None, HEADER)


def test_plans_at_the_same_time_share_it(file):
    keys = [("video", f"/data/{number}.mp4".encode(), 1, number) for number in range(40)]
    writers = [threading.Thread(target=HeaderCache().store, args=([(key, HEADER)],)) for key in keys]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert all(found(key) == HEADER for key in keys)
