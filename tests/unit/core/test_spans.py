import pytest

from tao_skill_bank.core.spans import Span


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (8.0, 61.4, "8 s to 61 s"),
        (30, 300, "30 s to 5 min"),
        (7100, 26000, "120 min to 7.2 h"),
        (90000, 400000, "25 h to 4.6 days"),
        (5.01, 4.99, "5 s"),
    ],
)
def test_a_range_is_shown_with_two_digits_and_units(low, high, text):
    assert Span(low, high).text() == text


def test_ranges_add_and_scale():
    whole = (Span(1, 4) + Span(1, 5)) * 2
    assert (whole, whole.middle, whole.rounded) == (Span(4, 18), pytest.approx(72**0.5), [4.0, 18.0])
