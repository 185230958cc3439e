import pytest

from tao_skill_bank.core.limits import MAX_DEPTH, is_digits_error, is_too_deep


def nested(levels):
    value = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def test_depth_counts_lists_and_mappings():
    assert not is_too_deep(nested(MAX_DEPTH))
    assert is_too_deep(nested(MAX_DEPTH + 1))
    assert not is_too_deep("text")


@pytest.mark.slow
def test_a_very_deep_value_is_measured_without_recursion():
    assert is_too_deep(nested(100_000))


def test_the_refusal_of_long_numbers_is_recognised():
    with pytest.raises(ValueError, match="digits") as caught:
        int("1" * 5000)
    assert is_digits_error(caught.value)
    assert not is_digits_error(ValueError("no number"))
