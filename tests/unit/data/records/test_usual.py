from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from preflight_worlds import make_record

from tao_skill_bank.data.records import reader
from tao_skill_bank.data.records.usual import UNUSUAL, UsualRecords
from tao_skill_bank.data.records.values import Media, RecordRules

TOKENS = ("<|im_start|>", "<|im_end|>")
RULES = RecordRules("conversations", ("video_fps",), needs_answer=True, reserved_tokens=TOKENS)
ANSWER = {"from": "gpt", "value": "left"}
ABSENT = object()
PARTS = {
    "id": ["a", 1, None, [1], ABSENT],
    "video": ["a.mp4", "", None, ["a.mp4", "b.mp4"], 7, "a.jpg", ABSENT],
    "image": [ABSENT, "a.png"],
    "video_fps": [30, 29.97, 0, "30", None, True, 10**400, ABSENT],
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
        [ANSWER, {"from": "human", "value": "?"}, ANSWER],
        [{"from": "human", "value": "?"}, {"from": "gpt", "value": " "}],
        [{"from": "human", "value": "?"}, {"from": "gpt", "value": "<video>"}],
        [{"from": "human", "value": "?"}, {"from": "gpt", "value": "a<|im_end|>"}],
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
TEXTS = some.lists(
    some.sampled_from(
        ["a", " ", "<video>", "<image>", "<|im_end|>", "<|", "\ud83d", "\0", "é", "<", "\n", "left", "\u2028", "ｖ"]
    ),
    max_size=4,
).map("".join)
ROLES = some.sampled_from(["human", "gpt", "user", "assistant", "system", "Human", "robot", ""])
TURNS = some.lists(
    some.one_of(
        some.fixed_dictionaries({"from": ROLES, "value": TEXTS}),
        some.fixed_dictionaries({"role": ROLES, "content": TEXTS}),
        some.fixed_dictionaries({"from": ROLES, "value": TEXTS, "weight": some.integers()}),
    ),
    max_size=4,
)
NAMES = some.one_of(
    some.sampled_from(
        ["a.mp4", "a/b.mp4", "a.jpg", "C:\\a.mp4", "http://x/a.mp4", "x" * 300 + ".mp4", "é.mp4", "\0.mp4"]
    ),
    some.text(max_size=8).map(lambda text: f"{text}.mp4"),
    some.lists(some.sampled_from(["a.mp4", "f0.jpg", "f1.jpg"]), max_size=3),
)
ANY_RECORD = some.fixed_dictionaries(
    {"conversations": TURNS},
    optional={
        "id": some.one_of(some.text(max_size=4), some.integers(), some.booleans(), some.none()),
        "video": NAMES,
        "videos": NAMES,
        "image": NAMES,
        "video_fps": some.one_of(some.floats(), some.integers(), some.text(max_size=4), some.none()),
        "system": TEXTS,
        "video_start": some.integers(-1, 3),
        "end": some.integers(-1, 3),
        "source": some.text(max_size=3),
        "messages": TURNS,
    },
)


def held_to_the_reader(record, rules=RULES):
    length = UsualRecords(rules).length(record)
    if length == UNUSUAL:
        return False
    read, issues = reader.examine(record, rules)
    assert issues == ()
    assert read.num_characters == length
    assert read.media == (Media("video", record["video"], rate=read.media[0].rate),)
    assert read.id == str(record["id"])
    assert reader.media_of(record) == read.media
    return True


def test_the_quick_look_passes_only_what_the_reader_passes():
    assert sum(map(held_to_the_reader, RECORDS)) > 0


@pytest.mark.slow
@settings(max_examples=400, deadline=None, derandomize=True)
@given(ANY_RECORD)
def test_the_quick_look_is_held_to_the_reader(record):
    held_to_the_reader(record)
    held_to_the_reader(record, RecordRules())


def test_the_quick_look_passes_the_usual_record():
    assert UsualRecords(RULES).length(make_record(0)) == len("<video>\nWhich way does it move?left")


@pytest.mark.parametrize("record", [None, 7, "text", [], {}, [make_record(0)]])
def test_what_is_not_a_usual_record_is_left_to_the_reader(record):
    assert UsualRecords(RULES).length(record) == UNUSUAL


def test_a_name_behind_a_uri_is_left_to_the_reader():
    assert UsualRecords(RULES).length(make_record(0, video="s3://bucket/a.mp4")) == UNUSUAL


def test_keys_that_nobody_reads_are_counted_by_the_shape_of_the_record():
    usual = UsualRecords(RULES)
    for index in range(3):
        assert usual.length(make_record(index, source="lab")) > 0
        assert usual.length(make_record(index)) > 0
    assert usual.shapes == {("id", "video", "video_fps", "conversations", "source"): 3}
