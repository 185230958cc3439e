"""Which questions of a record are asked, and what comes before them."""

from typing import Any

import pytest

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason.conversation import parse, text_of
from tao_skill_bank.models.cosmos_reason.turns import asked

TURNS = [
    ("human", "<image>What is this?"),
    ("gpt", "a car"),
    ("human", "And <image>this?"),
    ("gpt", "a bus"),
    ("human", "Same?"),
    ("gpt", "no"),
]
RECORD = {
    "id": "r",
    "images": ["1.png", "2.png"],
    "conversations": [{"from": who, "value": text} for who, text in TURNS],
}


def test_every_question_comes_after_the_records_own_answers() -> None:
    found = asked(parse(RECORD, 0), every=True)
    assert [(one.turn, one.text, one.truth) for one in found] == [
        (1, "What is this?", "a car"),
        (2, "And\nthis?", "a bus"),
        (3, "Same?", "no"),
    ]
    assert [len(one.prompt.media) for one in found] == [1, 2, 2]
    assert [text_of(message) for message in found[2].prompt.messages][1::2] == ["a car", "a bus"]


def test_the_last_question_is_the_last_of_all() -> None:
    last = asked(parse(RECORD, 0), every=False)
    assert last == asked(parse(RECORD, 0), every=True)[-1:]


def test_a_conversation_without_a_question_or_its_answer_is_refused() -> None:
    turns: list[dict[str, Any]] = RECORD["conversations"]  # type: ignore[assignment]
    with pytest.raises(BlockedError, match="does not follow a user turn"):
        parse({"id": "r", "conversations": [{"from": "gpt", "value": "hello"}, *turns]}, 0)
    with pytest.raises(BlockedError, match="no question with an answer"):
        asked(parse({"id": "r", "conversations": [{"from": "human", "value": "hello"}]}, 0), every=True)
