import pytest

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.training.held_out import held_out_names

NAMES = [f"clip{index}" for index in range(50)]


def test_a_split_depends_on_names_and_seed_only() -> None:
    chosen = held_out_names(NAMES, 0.2, 0, spec_path="p")
    assert len(chosen) == 10
    assert held_out_names(NAMES[::-1], 0.2, 0, spec_path="p") == chosen
    assert held_out_names(NAMES, 0.2, 1, spec_path="p") != chosen
    assert len(held_out_names(NAMES, 7, 0, spec_path="p")) == 7


@pytest.mark.parametrize("test_size", [0.001, 50, 60])
def test_a_split_that_leaves_one_side_empty_is_refused(test_size: float) -> None:
    with pytest.raises(BlockedError, match=r"dataset\.test_size") as caught:
        held_out_names(NAMES, test_size, 0, spec_path="dataset.test_size")
    assert caught.value.problems[0].code == "empty_split"
