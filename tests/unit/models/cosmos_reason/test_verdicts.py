"""One rule judges every answer: equality first, then what can be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import answers
from tao_skill_bank.models.cosmos_reason.answers import AnswerType, Response
from tao_skill_bank.models.cosmos_reason.verdicts import Kind, Rule, judge, kind_of, token_f1

KINDS: tuple[Kind, ...] = ("its_directionality", "yes_no", "letter", "free_text")
TYPES: tuple[AnswerType, ...] = ("letter", "reasoning", "freeform", "naive")
RULES = st.builds(Rule, st.sampled_from(KINDS), st.sampled_from(TYPES))
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            ["A", "(B)", "yes", "No", "left", "right", "<think>", "</think>", "<answer>", "</answer>", "the", "左", "."]
        ),
        max_size=8,
    ).map(" ".join),
)


@given(text=TEXTS.filter(lambda text: text.strip()), rule=RULES, is_cut=st.booleans())
def test_an_answer_that_equals_its_truth_is_right(text: str, rule: Rule, is_cut: bool) -> None:
    assert judge(Response(f" {text}\n", is_cut), text, rule).is_right


@given(truth=TEXTS.filter(answers.has_word), rule=RULES, blank=st.text(" \n.,!?…。-*", max_size=6))
def test_an_answer_without_a_word_is_never_right(truth: str, rule: Rule, blank: str) -> None:
    assert judge(Response(blank), truth, rule).outcome == "unparseable"


@given(truth=st.text(max_size=20), rule=RULES)
def test_an_empty_answer_is_never_right(truth: str, rule: Rule) -> None:
    assert judge(Response(""), truth, rule).outcome == "unparseable"
    assert judge(Response("", is_cut=True), truth, rule).outcome == "cut"


@given(thought=st.text(max_size=30), rule=RULES, is_cut=st.booleans())
def test_a_thought_that_does_not_close_is_never_an_answer(thought: str, rule: Rule, is_cut: bool) -> None:
    verdict = judge(Response(f"<think>{thought} left yes B", is_cut), "left", rule)
    assert verdict.outcome == ("cut" if is_cut else "unparseable")


@pytest.mark.parametrize(
    ("kind", "answer_type", "response", "truth", "outcome"),
    [
        ("free_text", "letter", "", "A", "unparseable"),
        ("free_text", "freeform", "The", "A", "wrong"),
        ("free_text", "freeform", "a.", "A", "right"),
        ("yes_no", "freeform", "Yes, there is no gap", "Yes, there is no gap", "right"),
        ("yes_no", "freeform", "Yes, there is no gap", "yes", "right"),
        ("yes_no", "freeform", "There is no gap", "no", "right"),
        ("yes_no", "freeform", "yes or no", "no", "unparseable"),
        ("its_directionality", "freeform", "left or right", "left", "unparseable"),
        ("its_directionality", "freeform", "It turns <b>LEFT</b>", "Left.", "right"),
        ("its_directionality", "naive", "<think>It may be right", "right", "unparseable"),
        ("its_directionality", "reasoning", "<think>right?</think>left", "left", "right"),
        ("its_directionality", "reasoning", "<think>left</think>", "left", "unparseable"),
        ("its_directionality", "reasoning", "<answer>right</answer>no <answer>left</answer>", "left", "right"),
        ("letter", "letter", "B. Vehicle (A)", "B. Vehicle (A)", "right"),
        ("letter", "letter", "B", "B. Vehicle (A)", "right"),
        ("letter", "letter", "A", "B. Vehicle (A)", "wrong"),
        ("letter", "reasoning", "<think>A?</think><answer>(B) a car</answer>", "B", "right"),
        ("free_text", "letter", "I choose (B)", "B, the car", "right"),
        ("free_text", "freeform", "向左转。", "向左转", "right"),
        ("free_text", "freeform", "向右转", "向左转", "wrong"),
        ("free_text", "freeform", "इंतज़ार!", "इंतज़ार", "right"),
        ("free_text", "freeform", "يسار", "يمين", "wrong"),
        ("free_text", "freeform", "ＬＥＦＴ", "left", "right"),
        ("free_text", "freeform", "！？", "向左转", "unparseable"),
    ],
)
def test_typical_answers(kind: Kind, answer_type: AnswerType, response: str, truth: str, outcome: str) -> None:
    assert judge(Response(response), truth, Rule(kind, answer_type)).outcome == outcome


@pytest.mark.parametrize(
    ("kind", "answer_type", "response", "truth", "outcome"),
    [
        ("its_directionality", "freeform", "Left", "left", "right"),
        ("its_directionality", "freeform", "Left, because the", "left", "right"),
        ("its_directionality", "freeform", "The answer is: left. The car", "left", "right"),
        ("its_directionality", "freeform", "The car passes a tree on the left and", "left", "cut"),
        ("its_directionality", "reasoning", "First it goes left, then", "left", "cut"),
        ("its_directionality", "reasoning", "<think>It goes</think> <answer>le", "left", "cut"),
        ("its_directionality", "reasoning", "<think>..</think><answer>left</answer> I am", "left", "right"),
        ("yes_no", "freeform", "Let me see whether there is no", "no", "cut"),
        ("letter", "letter", "Option A shows a car, option B", "B", "cut"),
        ("letter", "letter", "A car turns, so", "A", "cut"),
        ("letter", "letter", "B. A car that", "B", "right"),
        ("free_text", "freeform", "A car that", "a truck", "wrong"),
        ("free_text", "reasoning", "A car", "A car", "right"),
        ("free_text", "reasoning", "It seems", "a truck", "cut"),
    ],
)
def test_answers_that_were_cut(kind: Kind, answer_type: AnswerType, response: str, truth: str, outcome: str) -> None:
    assert judge(Response(response, is_cut=True), truth, Rule(kind, answer_type)).outcome == outcome


def test_the_kind_of_an_evaluation_follows_its_truths() -> None:
    assert kind_of({"#0": "yes", "#1": "Yes, two cars collide."}, "", "freeform") == "yes_no"
    assert kind_of({"#0": "yes", "#1": "a truck"}, "", "freeform") == "free_text"
    assert kind_of({"#0": "No-one", "#1": "no"}, "", "freeform") == "free_text"
    assert kind_of({"#0": "B", "#1": "(C)", "#2": "A. A truck"}, "", "letter") == "letter"
    assert kind_of({"#0": "B", "#1": "A car"}, "", "letter") == "free_text"
    assert kind_of({"#0": "B", "#1": "A"}, "", "freeform") == "free_text"
    assert kind_of({"#0": "<think>so</think><answer>B</answer>", "#1": "C"}, "", "reasoning") == "letter"


def test_a_truth_without_a_direction_is_the_annotations_mistake() -> None:
    truths = {"#2": "left", "#4": "yes", "#6": "right.", "#8": "left or right"}
    with pytest.raises(BlockedError, match="#4, #8"):
        kind_of(truths, "its_directionality", "freeform")
    with pytest.raises(BlockedError, match="nothing to evaluate"):
        kind_of({}, "", "freeform")


def test_token_f1_counts_shared_words() -> None:
    assert token_f1("the cat sat", "a cat ran") == pytest.approx(0.5)
    assert token_f1("向右转", "向左转") == pytest.approx(2 / 3)
    assert token_f1("A", "A") == 1.0
    assert token_f1("", "") == 0.0
    assert token_f1("cat", "") == 0.0
