import itertools
import random

import pytest

from tao_skill_bank.core import subset

NAMES = [f"clip-{number % 17}" for number in range(40)]


@pytest.mark.parametrize("limit", [1, 2, 20, 39, 40, 100])
def test_a_limit_takes_exactly_that_many_in_their_order(limit: int) -> None:
    taken = subset.chosen(NAMES, limit)
    assert len(taken) == min(limit, len(NAMES))
    assert taken == sorted(set(taken))


def test_a_larger_limit_adds_to_a_smaller_one() -> None:
    nested = [set(subset.chosen(NAMES, limit)) for limit in range(1, 41)]
    assert all(small < large for small, large in itertools.pairwise(nested))


def test_the_order_of_the_items_does_not_matter() -> None:
    names = sorted(set(NAMES))
    shuffled = random.Random(0).sample(names, len(names))
    assert {names[at] for at in subset.chosen(names, 5)} == {shuffled[at] for at in subset.chosen(shuffled, 5)}
    assert subset.chosen(names, 5) != list(range(5))  # not the first ones


def test_names_that_no_encoding_holds_are_taken() -> None:
    assert subset.chosen(["\udcff", "b"], 1)


@pytest.mark.parametrize(("limit", "codes"), [(None, []), (40, []), (10, ["subset"]), (41, ["limit_above_data"])])
def test_what_a_limit_takes_is_a_finding(limit: int | None, codes: list[str]) -> None:
    found = subset.findings("a.limit", limit, 40, "records", takes_all=-1)
    assert [finding.code for finding in found] == codes
    assert all("--set a.limit=-1" in finding.fix for finding in found)
    assert all(finding.fix_set == ({"a.limit": -1} if codes == ["limit_above_data"] else {}) for finding in found)
