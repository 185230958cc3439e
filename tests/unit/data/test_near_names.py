import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.data import near_names


@pytest.mark.parametrize(
    ("name", "other", "how"),
    [
        ("Ep0.txt", "ep0.txt", "in upper and lower case"),
        ("caf\u00e9", "cafe\u0301", "in its Unicode form"),
        ("CAF\u00c9", "cafe\u0301", "in upper and lower case"),
        ("stra\u00dfe", "STRASSE", "in upper and lower case"),
    ],
)
def test_names_that_are_easily_taken_for_the_same_have_one_normal_form(name: str, other: str, how: str) -> None:
    assert near_names.normal(name) == near_names.normal(other)
    assert near_names.difference(name, other) == how


@given(st.text(max_size=20))
def test_the_normal_form_is_its_own(name: str) -> None:
    assert near_names.normal(near_names.normal(name)) == near_names.normal(name)


def test_other_names_stay_apart() -> None:
    assert near_names.normal("a.txt") != near_names.normal("b.txt")
