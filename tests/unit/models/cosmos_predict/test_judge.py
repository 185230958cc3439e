"""What a judge's reply says, and how it is asked again."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tao_skill_bank.models.cosmos_predict import judge


class Scripted:
    """Says one reply after another."""

    identity = "scripted"

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[str, int]] = []

    def watch(self, video: Path) -> Any:
        return video

    def ask(self, shown: Any, question: str, seed: int) -> str:
        self.shown = shown
        self.asked.append((question, seed))
        return self.replies[len(self.asked) - 1]


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ('{"reason": "fine", "score": 4}', 4),
        ('```json\n{"score": 5, "reason": "a {brace}"}\n```', 5),
        ('Here it is: {"score": "2"} as asked.', 2),
        ('{"score": 3.0}', 3),
        ('<think>Perhaps {"score": 1}.</think>{"score": 4}', 4),
        ("Score: 3", 3),
        ("The arm slips.\n**Final score:** 2/5.", 2),
        ("score = 1", 1),
    ],
)
def test_a_stated_score_is_read(reply: str, score: int) -> None:
    assert judge.parse(reply) == score


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "The video is good.",
        "left",
        "4",
        '{"score": 0}',
        '{"score": 6}',
        '{"score": 3.5}',
        '{"score": true}',
        '{"score": null}',
        '{"score": [4]}',
        '{"score": NaN}',
        '{"score": 4} or {"score": 2}',
        '{"score": "<whole number 1 to 5>"}',
        '{"score": 4',
        '<think>{"score": 4} seems',
        "Score: 1-5",
        "Score: 10",
        "Score: -3",
        "Score: 4/10",
        "Score: 4\nScore: 2",
        "I would not score: it is 3 of 7",
        '{"score": 9}\nScore: 4',
        "{" * 5000,
        '{"a":' * 5000,
    ],
)
def test_anything_else_is_no_score(reply: str) -> None:
    assert judge.parse(reply) is None


def test_the_format_that_is_asked_for_is_no_score_itself() -> None:
    for metric in judge.RUBRICS:
        assert judge.parse(judge.question(metric, "Pick up the cup.")) is None


def test_a_question_holds_the_rubric_and_the_instruction() -> None:
    prompt = "Pick up the {cup} with the left hand."
    instruction = judge.question(judge.INSTRUCTION, prompt)
    assert prompt in instruction
    assert all(word in instruction for word in ("completion", "action", "object", "goal", "hand"))
    physics = judge.question(judge.PHYSICS, prompt)
    assert prompt not in physics
    assert all(f"\n{points}: " in text for points in range(1, 6) for text in (instruction, physics))


def test_each_seed_is_asked_once_and_its_spread_is_told() -> None:
    asked = Scripted('{"score": 2}', '{"score": 4}', '{"score": 3}')
    verdict = judge.score(asked, None, "How good?", [0, 1, 7], max_retries=2)
    assert (verdict.mean, verdict.std) == (3, 1)
    assert [(answer.seed, answer.score, answer.attempts) for answer in verdict.answers] == [
        (0, 2, 1),
        (1, 4, 1),
        (7, 3, 1),
    ]
    assert [seed for _, seed in asked.asked] == [0, 1000, 7000]
    assert verdict.to_json()["unparsed"] == 0


def test_a_reply_without_a_score_is_asked_again_with_a_reminder() -> None:
    asked = Scripted("Good video.", '{"score": 4}')
    verdict = judge.score(asked, None, "How good?", [3], max_retries=2)
    assert (verdict.mean, verdict.std, verdict.answers[0].attempts) == (4, None, 2)
    assert asked.asked == [("How good?", 3000), (f"How good?\n\n{judge.REMINDER}", 3001)]


def test_after_the_last_retry_there_is_no_score_and_the_reply_is_kept() -> None:
    verdict = judge.score(Scripted("left", "left", "straight"), None, "How good?", [0], max_retries=2)
    assert (verdict.mean, verdict.std) == (None, None)
    assert "No reply of the judge" in verdict.reason
    document = verdict.to_json()
    assert document["unparsed"] == 1
    assert document["answers"] == ({"seed": 0, "score": None, "attempts": 3, "text": "straight"},)


def test_seeds_without_a_score_do_not_count_as_any() -> None:
    verdict = judge.score(Scripted('{"score": 5}', "?", '{"score": 4}'), None, "How good?", [0, 1, 2], max_retries=0)
    assert verdict.mean == 4.5
    assert verdict.to_json()["unparsed"] == 1
