import logging
import os

import media_pool
import pytest
import torch

from tao_skill_bank.data.headers import MediaFile
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.training import media_look
from tao_skill_bank.training.distributed import Ranks


class Together(Ranks):
    """One of two ranks; what the other one says is known."""

    other: object = None

    def gather(self, value):
        return [value, type(value)()] if self.rank == 0 else [type(value)(), value]


@pytest.fixture
def files(tmp_path):
    found = {}
    for number in range(4):
        path = media_pool.clip(tmp_path / f"{number}.mp4")
        found[MediaFile("video", str(path))] = f"clip-{number}"
    return found


def ranks(rank=0, world=1):
    return Together(rank, world, torch.device("cpu"))


def test_sound_media_pass_without_a_word(files, caplog):
    with caplog.at_level(logging.WARNING):
        media_look.require_readable(files, ranks())
    assert caplog.text == ""


def test_every_file_that_cannot_be_used_is_named_with_a_record(files):
    first, _, third, _ = files
    for file in (first, third):
        os.truncate(file.path, 0)
    with pytest.raises(BlockedError) as caught:
        media_look.require_readable(files, ranks())
    assert [problem.code for problem in caught.value.problems] == ["media_unreadable"] * 2
    assert caught.value.problems[1].message.startswith(f"Record clip-2: Media file {third.path} cannot be used")


def test_a_rank_reads_its_share(files):
    second = list(files)[1]
    os.truncate(second.path, 0)
    media_look.require_readable(files, ranks(0, 2))
    with pytest.raises(BlockedError, match="clip-1"):
        media_look.require_readable(files, ranks(1, 2))


def test_records_that_will_be_skipped_do_not_end_the_job(files, caplog):
    os.truncate(next(iter(files)).path, 100)
    with caplog.at_level(logging.WARNING):
        media_look.require_readable(files, ranks(), skips=True)
    assert "to be skipped: Record clip-0" in caplog.text


def test_of_many_broken_files_the_first_are_named_and_the_others_counted(tmp_path):
    files = {MediaFile("video", str(tmp_path / f"{number}.mp4")): str(number) for number in range(30)}
    with pytest.raises(BlockedError) as caught:
        media_look.require_readable(files, ranks())
    assert len(caught.value.problems) == 20
    assert caught.value.problems[-1].message.endswith("and 10 more files cannot be used.")
