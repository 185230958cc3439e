import math

import pytest

from tao_skill_bank.data.records.rates import rate_of


@pytest.mark.parametrize(
    ("value", "rate"),
    [(30, 30.0), (29.97, 29.97), ("29.97", 29.97), ("30000/1001", 30000 / 1001), (" 24 ", 24.0), ("50/2", 25.0)],
)
def test_a_rate_is_a_number_or_its_text(value, rate):
    assert rate_of(value) == pytest.approx(rate)


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        1e999,
        math.nan,
        True,
        None,
        [30],
        {},
        "fast",
        "",
        "30 fps",
        "1/0",
        "-4",
        "1e3",
        "30/",
        "٣",
        10**400,
        1e-300,
    ],
)
def test_anything_else_is_not_a_rate(value):
    assert rate_of(value) is None
