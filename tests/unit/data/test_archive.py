import gzip

import pytest
from hostile_archives import BOMBS, CONTENT, tar_of

from tao_skill_bank.core import hashes
from tao_skill_bank.data import archive


@pytest.fixture
def read(tmp_path):
    (tmp_path / "sampled").mkdir()

    def run(body, seconds=60.0):
        (tmp_path / "media.tar").write_bytes(body)
        return archive.read(tmp_path / "media.tar", ["a.mp4"], tmp_path / "sampled", seconds)

    return run


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_an_archive_that_would_write_more_than_it_can_hold_is_a_finding_and_writes_nothing(read, tmp_path, bomb):
    listing = read(bomb())
    assert listing.error
    assert not listing.is_complete
    assert sum(file.stat().st_size for file in (tmp_path / "sampled").iterdir()) <= 65 * 2**20
    if "sparse" in listing.error or "bytes by its header" in listing.error:
        assert list((tmp_path / "sampled").iterdir()) == []


def test_a_wrong_checksum_is_seen_though_every_member_could_be_read(read):
    body = bytearray(gzip.compress(tar_of({"a.mp4": CONTENT})))
    body[-6] ^= 0xFF
    assert "CRC" in read(body).error


def test_the_first_member_of_a_name_is_sampled_as_the_trainer_takes_it(read):
    listing = read(tar_of({"a.mp4": b"first", "./a.mp4": b"second", "b.mp4": b""}))
    assert listing.extracted["a.mp4"].read_bytes() == b"first"
    assert len(listing.names) == 3
    assert len(hashes.repeated(listing.names)) == 1


def test_an_archive_that_takes_too_long_is_not_complete(read):
    listing = read(tar_of({"a.mp4": CONTENT}), seconds=-1.0)
    assert (listing.error, listing.is_complete) == ("", False)
