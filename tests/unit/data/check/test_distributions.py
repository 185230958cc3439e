import random

import pytest

from tao_skill_bank.data.check import distributions
from tao_skill_bank.data.check.distributions import Bar


def test_few_different_numbers_have_a_bar_each():
    found = distributions.of_numbers("Rate", "1/s", [30, 25.0, 30.0])
    assert found.bars == (Bar("25", 1), Bar("30", 2))
    assert (found.least, found.most, found.largest) == (25, 30, 2)


@pytest.mark.parametrize("scale", [0.1, 1.0, 7e5])
def test_many_numbers_are_counted_in_bins_with_round_limits(scale):
    generator = random.Random(0)
    values = [scale * generator.uniform(3, 10) for _ in range(500)]
    found = distributions.of_numbers("Duration", "s", values)
    assert found.count == 500
    assert 7 <= len(found.bars) <= 12
    ends = [tuple(map(float, bar.label.split(" to "))) for bar in found.bars]
    assert ends[0][0] <= min(values)
    assert max(values) <= ends[-1][1]
    for bar, (start, end) in zip(found.bars, ends, strict=True):
        assert bar.count == sum(start <= value < end for value in values)


def test_rare_names_are_one_bar():
    names = [str(number) for number in range(30) for _ in range(30 - number)]
    found = distributions.of_names("Size", names)
    assert (found.bars[0], found.bars[-1]) == (Bar("0", 30), Bar("10 others", 55))


def test_without_values_it_is_said_why():
    assert distributions.of_numbers("Tokens", "", [], "no model").missing == "no model"
    assert distributions.of_names("Classes", {}, "open").missing == "open"
