"""Records become chat messages."""

from typing import Any

import pytest

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import parse, question_and_answer, sampling_of, text_of

RANGES: tuple[dict[str, Any], ...] = ({}, {"video_end": 2})


def _parts(record: dict[str, Any], turn: int = 0) -> list[str]:
    return [part.get("text", part["type"]) for part in parse(record, 0).messages[turn]["content"]]


def _turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]


def test_media_appear_where_they_are_marked() -> None:
    record = {"images": ["a.png", "b.png"], "conversations": _turns("First <image>\nthen <image> which?", "left")}
    assert _parts(record) == ["First", "image", "then", "image", "which?"]
    assert [item.name for item in parse(record, 0).media] == ["a.png", "b.png"]


def test_a_record_without_markers_shows_its_media_first() -> None:
    assert _parts({"video": "a.mp4", "conversations": _turns("Which?", "left")}) == ["video", "Which?"]


def test_media_of_two_kinds_follow_the_order_of_the_text() -> None:
    record = {"video": "a.mp4", "image": "b.png", "conversations": _turns("<image> or <video>?", "x")}
    assert [item.name for item in parse(record, 0).media] == ["b.png", "a.mp4"]


def test_role_and_content_turns_are_understood() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "Which?"}]},
        {"role": "assistant", "content": "left"},
    ]
    parsed = parse({"video": "a.mp4", "conversations": turns}, 0, system_prompt="Ignored.")
    assert [message["role"] for message in parsed.messages] == ["system", "user", "assistant"]
    assert parsed.messages[0]["content"][0]["text"] == "Be brief."


def test_the_system_prompt_of_the_spec_comes_first() -> None:
    parsed = parse({"conversations": _turns("Which?", "left")}, 0, system_prompt="Be brief.")
    assert parsed.messages[0] == {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}


def test_the_last_answer_of_many_turns_is_the_one_asked_for() -> None:
    record = {"video": "a.mp4", "conversations": _turns("One?", "left", "Two?", "right")}
    prompt, question, answer = question_and_answer(parse(record, 0))
    assert (question, answer, len(prompt.messages), len(prompt.media)) == ("Two?", "right", 3, 1)


@pytest.mark.parametrize(
    "record",
    [
        {"id": "x", "conversations": []},
        {"id": "x", "conversations": [{"from": "robot", "value": "hi"}]},
        {"id": "x", "conversations": ["hi"]},
        {"id": "x", "video": "a.mp4", "conversations": _turns("<video> <video>", "left")},
        {"id": "x", "conversations": _turns("<video> which?", "left")},
        {"id": "x", "video": "a.mp4", "video_fps": "fast", "conversations": _turns("Which?", "left")},
    ],
)
def test_a_bad_record_is_named(record: dict[str, Any]) -> None:
    with pytest.raises(BlockedError, match="Record x"):
        parse(record, 0)


def test_the_range_of_time_of_a_record_overrides_that_of_the_spec() -> None:
    spec = VideoSampling(fps=1.0, video_start=1.0, video_end=9.0)
    whole, part = (
        parse({"video": "a.mp4", **more, "conversations": _turns("?", "left")}, 0).media[0] for more in RANGES
    )
    assert sampling_of(spec, whole) == spec
    assert sampling_of(spec, part) == VideoSampling(fps=1.0, video_start=1.0, video_end=2.0)
    assert whole != part  # caches are keyed by the medium


def test_the_system_prompt_of_a_record_is_shown_instead_of_that_of_the_spec() -> None:
    parsed = parse({"system": "Be brief.", "conversations": _turns("?", "left")}, 0, system_prompt="Ignored.")
    assert [text_of(message) for message in parsed.messages] == ["Be brief.", "?", "left"]
