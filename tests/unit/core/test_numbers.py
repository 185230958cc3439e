import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.core import numbers

UNUSABLE = (math.inf, -math.inf, math.nan, 2**32, -(2**32), 1e22, 10**22, 10**5000)
USABLE = (0, 1, -1, 2**32 - 1, 1e-300, 0.5, True, "1e999", None)


@pytest.mark.parametrize("number", UNUSABLE, ids=lambda number: str(number)[:12] if abs(number) < 1e300 else "far")
def test_an_unusable_number_is_named_with_its_path_and_the_limit_wherever_it_is_nested(number):
    (problem,) = numbers.problems({"a": {"b": [1, {"c": number}]}})
    assert problem.path == "a.b.1.c"
    assert problem.path in problem.message
    assert problem.path in problem.fix
    assert "finite" in problem.message or "4,294,967,295" in problem.message


@given(
    st.recursive(
        st.sampled_from(USABLE),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=12,
    )
)
def test_usable_values_have_no_problem(value):
    assert not list(numbers.problems(value))
    assert numbers.first_not_finite(value) is None


@pytest.mark.parametrize(
    ("value", "number", "count"),
    [
        (0, 0.0, 0),
        (-0.0, 0.0, 0),
        (2.0, 2.0, 2),
        (2.5, 2.5, None),
        (-1, -1.0, None),
        (2**63 - 1, float(2**63), 2**63 - 1),
        (1e300, 1e300, int(1e300)),
    ],
)
def test_a_number_of_a_file_is_read_and_counts_where_it_is_whole(value, number, count):
    assert numbers.finite(value) == number
    assert numbers.count(value) == count


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 10**400, True, False, "1", None, [1], {}])
def test_what_no_finite_number_is_in_a_file_is_none(value):
    assert numbers.finite(value) is None
    assert numbers.count(value) is None


def test_an_integer_of_any_size_is_finite():
    assert numbers.first_not_finite({"bytes": 10**5000}) is None
    assert numbers.first_not_finite({"a": [0, {"b": math.nan}]}) == "a.1.b"
