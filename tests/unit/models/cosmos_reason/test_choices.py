"""The choices of closed questions."""

import pytest

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import choices
from tao_skill_bank.models.cosmos_reason.verdicts import Rule


@pytest.mark.parametrize(
    ("truths", "expected"),
    [
        (["Yes", "No", "yes", "Yes"], ("Yes", "No")),
        (["Yes, two cars collide."], ("Yes", "No")),
        (["no.", "no"], ("yes", "no")),
        (["NO"], ("YES", "NO")),
        (["ｎｏ"], ("yes", "ｎｏ")),
        (["ⓝⓞ"], ("yes", "no")),
    ],
)
def test_yes_and_no_are_spelled_as_the_truths_spell_them(truths: list[str], expected: tuple[str, ...]) -> None:
    found = choices.of(["Is it?"] * len(truths), truths, Rule("yes_no", "freeform"))
    assert found == [expected] * len(truths)


def test_directions_are_always_all_three() -> None:
    assert choices.of(["?"], ["Left"], Rule("its_directionality", "freeform")) == [("Left", "Right", "Straight")]


def test_letters_are_those_that_a_question_lists() -> None:
    asked = ["What is it?\nA. a car\nB. a truck\nC. a bus", "(A) left (B) right", "Which one?", "A. yes B. no"]
    found = choices.of(asked, ["B", "A", "D", "C"], Rule("letter", "letter"))
    assert found == [("A", "B", "C"), ("A", "B"), ("A", "B", "C", "D"), ("A", "B", "C", "D")]


def test_letters_are_written_as_the_truths_write_them() -> None:
    assert choices.of(["?"] * 2, ["(a)", "(b) a car"], Rule("letter", "letter")) == [("(a", "(b")] * 2


def test_free_text_has_no_choices() -> None:
    with pytest.raises(BlockedError, match="free text"):
        choices.of(["?"], ["a car"], Rule("free_text", "freeform"))
