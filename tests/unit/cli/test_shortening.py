"""Values that fit a number of bytes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill_bank.cli import shortening

TEXTS = st.builds(lambda part, times: part * times, st.text(max_size=8), st.integers(0, 300))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXTS, inner, max_size=6),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(value=VALUES, most=st.integers(8, 400))
def test_any_value_fits_and_is_whole_where_it_has_room(value: object, most: int) -> None:
    short = shortening.any_value(value, most)
    assert shortening.size(short) <= most
    if shortening.size(value) <= most:
        assert short == value


@pytest.mark.parametrize("character", ["a", '"', "\n", "\x01", "é", "視", "\U0001f600", "\ud800"])
def test_a_long_text_of_any_character_keeps_most_of_its_room(character: str) -> None:
    short = shortening.text(character * 1000, 200)
    assert short.endswith("...")
    assert 150 < shortening.size(short) <= 200


def test_long_lists_and_objects_show_their_first_items_and_how_many_more_there_are() -> None:
    assert shortening.any_value(list(range(100)), 60) == [0, 1, 2, "...97 more"]
    shown = shortening.any_value({f"key{number}": number for number in range(100)}, 80)
    assert shown == {"key0": 0, "key1": 1, "key2": 2, "...": "97 more"}


def test_keys_that_would_be_alike_when_cut_are_shown_as_the_beginning_of_a_text() -> None:
    shown = shortening.any_value({f"{'long' * 9}{number}": number for number in range(9)}, 80)
    assert shown.startswith('{"longlong')
    assert shown.endswith("...")


def test_a_document_has_a_field_or_an_item_on_each_line() -> None:
    value = {"ok": True, "errors": [], "findings": [{"code": "a"}, {"code": "b"}], "steps": {"total": 3}}
    text = shortening.document(value)
    assert json.loads(text) == value
    assert text.splitlines()[3:6] == ['  "findings": [', '    {"code": "a"},', '    {"code": "b"}']
