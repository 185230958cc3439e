from array import array

import pytest

from tao_skill_bank.core import hashes


@pytest.fixture(params=[1_000_000, 3], ids=["one part", "many parts"])
def _parts(request, monkeypatch):
    monkeypatch.setattr(hashes, "HASHES_PER_PART", request.param)


@pytest.mark.usefixtures("_parts")
def test_later_occurrences_are_repeated_in_order():
    assert list(hashes.repeated(array("q", [5, -7, 5, 9, -7, 5]))) == [2, 4, 5]
    assert not hashes.repeated(array("q", range(-10, 10)))


@pytest.mark.usefixtures("_parts")
def test_positions_are_those_present_or_absent_in_the_other_store():
    ours, others = array("q", [1, -2, 3, 4, 1]), array("q", [4, 1, 100, 101, 102, 103, 104])
    assert list(hashes.positions_in(ours, others, present=True)) == [0, 3, 4]
    assert list(hashes.positions_in(ours, others, present=False)) == [1, 2]
    assert list(hashes.positions_in(ours, array("q"), present=False)) == [0, 1, 2, 3, 4]
