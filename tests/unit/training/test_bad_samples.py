"""Which records count as bad, what takes their places, and how many may be skipped."""

from pathlib import Path

import pytest
import torch

from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.training import bad_samples
from tao_skill_bank.training.bad_samples import Policy, Skip, SkipLog
from tao_skill_bank.training.distributed import Ranks


class Storage:
    """Records by index; some fail always, some only the first time."""

    def __init__(self, *, bad: set[int] = frozenset(), flaky: set[int] = frozenset()) -> None:
        self.bad, self.flaky, self.reads = bad, set(flaky), []

    def __call__(self, index: int) -> int:
        self.reads.append(index)
        if index in self.bad or index in self.flaky:
            self.flaky.discard(index)
            raise BlockedError.of("media_unreadable", f"Clip {index} is cut.", "Copy it again.", path=f"{index}.mp4")
        return index


def test_a_record_that_fails_once_is_read_once_more_and_is_not_bad() -> None:
    storage = Storage(flaky={3})
    assert bad_samples.read(storage, (3, 4)) == (3, ())
    assert storage.reads == [3, 3]


def test_the_next_record_that_can_be_read_takes_the_place_of_a_bad_one() -> None:
    sample, skipped = bad_samples.read(Storage(bad={3, 4}), (3, 4, 5))
    assert sample == 5
    assert [(skip.index, skip.code, skip.path) for skip in skipped] == [
        (3, "media_unreadable", "3.mp4"),
        (4, "media_unreadable", "4.mp4"),
    ]


def test_without_a_substitute_the_error_of_the_first_is_raised() -> None:
    with pytest.raises(BlockedError, match="Clip 3 is cut"):
        bad_samples.read(Storage(bad={3, 4}), (3, 4))


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), torch.OutOfMemoryError("full"), MissingExtraError.for_module("av", "train")]
)
def test_an_error_that_is_not_of_the_record_is_never_skipped(error: Exception) -> None:
    def load(_: int) -> int:
        raise error

    with pytest.raises(type(error)):
        bad_samples.read(load, (1, 2))


class Two(Ranks):
    """The other of two ranks brings one skip."""

    def gather(self, value: list[Skip]) -> list[list[Skip]]:  # type: ignore[override]
        return [value, [Skip(9, "media_unreadable", "Clip 9 is cut.")]]


def test_the_log_is_the_union_of_all_ranks_and_survives_a_checkpoint(tmp_path: Path) -> None:
    log = SkipLog(Policy(skips=True, max_share=0.1, share_key="share"), 20, tmp_path)
    log.note([Skip(2, "media_unreadable", "Clip 2 is cut.")])
    assert log.num_new == 1
    log.agree(Two(0, 2, torch.device("cpu")))
    assert (log.num_new, list(log.entries)) == (0, [2, 9])
    log.note([Skip(2, "media_unreadable", "Clip 2 is cut.")])
    assert log.num_new == 0
    assert SkipLog(log.policy, 20, tmp_path, tmp_path).entries == log.entries


def test_more_than_the_share_is_an_error_with_the_share_that_would_do(tmp_path: Path) -> None:
    log = SkipLog(Policy(skips=True, max_share=0.05, share_key="share"), 20, tmp_path)
    log.note([Skip(2, "media_unreadable", "Clip 2 is cut.")])
    with pytest.raises(BlockedError, match=r"2 of 20 training records .* Clip 2 is cut; Clip 9 is cut\.") as caught:
        log.agree(Two(0, 2, torch.device("cpu")))
    assert "set share to 0.1 or more" in caught.value.problems[0].fix
