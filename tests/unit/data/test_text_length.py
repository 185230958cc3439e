import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.data import text_length


def test_a_long_text_is_cut_after_the_words_that_fit() -> None:
    found = text_length.cut("a.mp4", "The arm waits. " * 100, 40)
    assert found is not None
    assert (found.num_tokens, found.num_words, found.last_words) == (400, 30, "arm waits. The arm waits.")


def test_a_text_that_fits_is_not_cut() -> None:
    assert text_length.cut("a.mp4", "Lift the mug.", 5) is None
    assert text_length.cut("a.mp4", "", 0) is None


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("manipulate", 2),
        ("2025", 4),
        ("a, b.", 4),
        ("\u00e9t\u00e9", 3),
        ("\u6d4b\u8bd5", 2),
        ("\U0001f600", 3),
        ("a\nb", 3),
    ],
)
def test_tokens_are_estimated_on_the_high_side(text: str, tokens: int) -> None:
    found = text_length.cut("a", text, 1)
    assert found is not None
    assert found.num_tokens == tokens


@given(st.text(max_size=60), st.integers(1, 30))
def test_whatever_is_cut_keeps_fewer_words_than_it_had(text: str, limit: int) -> None:
    found = text_length.cut("a", text, limit)
    if found is not None:
        assert found.num_tokens > limit
        assert found.num_words <= len(text.split())


def test_all_cut_texts_are_one_warning_and_no_limit_is_none() -> None:
    texts = [("a.mp4", "The arm waits. " * 100), ("b.mp4", "Lift.")]
    (found,) = text_length.check("folder", "captions", texts, 40)
    assert (found.code, found.severity, found.evidence["cut"]) == (
        "texts_cut",
        "warning",
        {"a.mp4": {"tokens": 400, "words": 30}},
    )
    assert "1 of 2 captions" in found.message
    assert text_length.check("folder", "captions", texts, 0) == []
