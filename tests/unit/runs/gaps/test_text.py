"""A question is the same whatever marks its media and asks for its form."""

import pytest

from tao_skill_bank.runs.gaps.text import plain


@pytest.mark.parametrize(
    "question",
    ["<video>\nIs it red?", "Is it  red? Answer with yes or no.", "<image> Is it red?\nanswer with Yes or No"],
)
def test_markers_and_the_closing_instruction_do_not_count(question):
    assert plain(question) == "Is it red?"


def test_other_words_count():
    assert plain("Answer with yes or no.") == "Answer with yes or no."
    assert plain("Is it <red>?") == "Is it <red>?"
