"""What the answers say about the evaluation."""

import pytest

from tao_skill_bank.models.cosmos_reason import answer_findings
from tao_skill_bank.models.cosmos_reason.answers import Response
from tao_skill_bank.models.cosmos_reason.verdicts import Rule, judge

DIRECTIONS = Rule("its_directionality", "freeform")


def _codes(pairs: list[tuple[str, str]], rule: Rule = DIRECTIONS, *, is_cut: bool = False) -> dict[str, str]:
    responses = [Response(text, is_cut) for text, _ in pairs]
    truths = [truth for _, truth in pairs]
    verdicts = [judge(response, truth, rule) for response, truth in zip(responses, truths, strict=True)]
    return {found.code: found.message for found in answer_findings.of(responses, truths, verdicts, rule)}


def test_answers_of_one_class_are_a_finding_where_the_truths_have_several() -> None:
    truths = ["left", "right", "left", "straight"]
    assert (
        "are 'left', but the truths have 3 classes"
        in _codes([("left", truth) for truth in truths])["one_class_answered"]
    )
    assert _codes([("left", "left")] * 4) == {}
    assert _codes([("left", "left"), ("right", "left"), ("left", "right"), ("left", "left")]) == {}


def test_cut_and_unreadable_answers_are_counted() -> None:
    found = _codes([("It goes", "left"), ("Left", "left")], is_cut=True)
    assert found["answers_cut"].startswith("2 of 2 answers hit generation.max_tokens; 1 of them")
    assert "1 of 2" in _codes([("", "left"), ("right", "right")])["answers_unparseable"]


@pytest.mark.parametrize(
    ("text", "truth", "rule", "code"),
    [
        ("<think>so</think>left", "left", DIRECTIONS, "answer_type_reasoning"),
        ("<think>so</think><answer>left</answer>", "left", Rule("its_directionality", "reasoning"), None),
        ("The answer is B", "B", Rule("free_text", "freeform"), "answer_type_letter"),
        ("The answer is B", "B", Rule("letter", "letter"), None),
    ],
)
def test_the_fitting_answer_type_is_suggested(text: str, truth: str, rule: Rule, code: str | None) -> None:
    assert list(_codes([(text, truth)] * 2, rule)) == ([code] if code else [])
