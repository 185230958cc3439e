"""How answers are read, in any script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.models.cosmos_reason import answers
from tao_skill_bank.models.cosmos_reason.answers import AnswerType, Response


@pytest.mark.parametrize(
    ("kind", "response", "expected"),
    [
        ("naive", " B ", " B "),
        ("freeform", " left ", "left"),
        ("reasoning", "<think>It was right.</think>\n<answer>left</answer>", "left"),
        ("reasoning", "<THINK>right</THINK> left", "left"),
        ("reasoning", "left", "left"),
        ("reasoning", "<answer>left", "left"),
        ("freeform", "<think>left", None),
    ],
)
def test_the_final_part_depends_on_the_answer_type(kind: AnswerType, response: str, expected: str | None) -> None:
    assert answers.final(Response(response), kind) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("The answer is (B).", "B"),
        ("The answer is B. Options A and C are wrong.", "B"),
        ("C. A truck", "C"),
        ("none", None),
        ("B", "B"),
        ("b)", "B"),
        ("**D**", "D"),
        ("**D.** A truck", "D"),
        ("I think the answer is (C)", "C"),
        ("I'd say it is C, not a truck", "C"),
        ("A car turns, so B", "B"),
        ("A) is wrong, so it is [C].", "C"),
        ("A. A car turns", "A"),
        ("It is A because it turns", "A"),
        ("B\n\nA and C do not fit.", "B"),
        ("B. Vehicle (A)", "B"),
        (r"So \boxed{C}", "C"),
        ("The clip(s) show a car", None),
        ("答案是B", "B"),
        ("Ｂ", "B"),
        ("Évasion", None),
        ("A and B", None),
        ("The answer is A or B.", None),
        ("It is (A), (C)", None),
        ("Both A and B are red, so it is C", "C"),
        ("The answer is B, A and C are wrong", None),
    ],
)
def test_letters(response: str, expected: str | None) -> None:
    assert answers.letter(response) == expected


@pytest.mark.parametrize(
    ("text", "normal", "words"),
    [
        ("The red, red car.", "red red car", ["the", "red", "red", "car"]),
        ("The", "the", ["the"]),
        ("A", "a", ["a"]),
        ("向左转。", "向左转", ["向", "左", "转"]),
        ("هل تنعطف؟", "هل تنعطف", ["هل", "تنعطف"]),
        ("गाड़ी मुड़ती है।", "गाड़ी मुड़ती है", ["गाड़ी", "मुड़ती", "है"]),
        ("５ Ｍ²", "5 m2", ["5", "m2"]),
        ("STRASSE straße", "strasse strasse", ["strasse", "strasse"]),
        ("👍", "", []),
    ],
)
def test_text_of_any_script_is_normalised(text: str, normal: str, words: list[str]) -> None:
    assert answers.normalize(text) == answers.normalize(normal) == normal
    assert answers.words(text) == answers.words(" ".join(words)) == words


@pytest.mark.parametrize(
    ("text", "other"),
    [("1.5", "15"), ("1,5", "15"), ("-3", "3"), ("(−3)", "3"), ("10:30", "1030"), ("1/2", "12"), ("3-4", "34")],
)
def test_marks_of_a_number_count(text: str, other: str) -> None:
    assert not answers.is_same(text, other)
    assert answers.is_same(f"{text}.", text)


@pytest.mark.parametrize(
    ("text", "other"), [("1,234,567.5", "1234567.5"), ("5 %", "5"), ("$5.", "5"), ("−3 °C", "-3 c"), ("A-5", "a5")]
)
def test_other_punctuation_next_to_digits_does_not_count(text: str, other: str) -> None:
    assert answers.is_same(text, other)


@given(st.text(max_size=60) | st.text("0123a.,:/-+ ", max_size=20))
def test_normalisation_is_stable(text: str) -> None:
    once = answers.normalize(text)
    assert answers.normalize(once) == once
    assert not answers.has_word(text) or once


def test_tags_of_reasoning_are_recognised() -> None:
    assert answers.shows_reasoning("so it is.</think> left")
    assert answers.shows_reasoning("<Answer>left</Answer>")
    assert not answers.shows_reasoning("I think left")
