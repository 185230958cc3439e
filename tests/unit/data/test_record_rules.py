from itertools import product

import pytest
from preflight_worlds import make_record

from tao_skill_bank.data.annotations import media_of
from tao_skill_bank.data.record_rules import UNUSUAL, RecordRules

RULES = RecordRules("conversations", ("video_fps",), needs_answer=True)
ANSWER = {"from": "gpt", "value": "left"}
ABSENT = object()
PARTS = {
    "id": ["a", 1, None, [1], ABSENT],
    "video": ["a.mp4", "", None, ["a.mp4", "b.mp4"], 7, ABSENT],
    "image": [ABSENT, "a.png"],
    "video_fps": [30, 29.97, 0, "30", None, True, ABSENT],
    "conversations": [
        [{"from": "human", "value": "<video>?"}, ANSWER],
        [{"from": "human", "value": "?"}, ANSWER],
        [{"from": "human", "value": "<video><video>?"}, ANSWER],
        [{"from": "human", "value": "<image>?"}, ANSWER],
        [{"from": "Human", "value": "?"}, ANSWER],
        [{"from": "human", "value": ["<video>"]}, ANSWER],
        [{"from": "human", "value": None}, ANSWER],
        [{"from": ["human"], "value": "?"}, ANSWER],
        [{"from": "robot", "value": "?"}, ANSWER],
        [{"role": "user", "content": "?"}, ANSWER],
        [{"from": "human", "value": "?"}],
        ["turn", ANSWER],
        [],
        {"0": ANSWER},
        "text",
        None,
        ABSENT,
    ],
}
RECORDS = [
    {key: value for key, value in zip(PARTS, values, strict=True) if value is not ABSENT}
    for values in product(*PARTS.values())
]


def test_the_quick_look_accepts_only_what_the_close_look_finds_faultless():
    accepted = [record for record in RECORDS if RULES.usual_length(record) != UNUSUAL]
    assert accepted
    for record in accepted:
        assert RULES.look_closely(record, media_of(record)) == ([], RULES.usual_length(record))


def test_the_quick_look_accepts_the_usual_record():
    assert RULES.usual_length(make_record(0)) == len("<video>\nWhich way does it move?left")


@pytest.mark.parametrize("record", [None, 7, "text", [], {}, [make_record(0)]])
def test_what_is_no_usual_record_is_left_to_the_close_look(record):
    assert RULES.usual_length(record) == UNUSUAL


def test_a_name_behind_a_uri_is_left_to_the_close_look():
    assert RULES.usual_length(make_record(0, video="s3://bucket/a.mp4")) == UNUSUAL
