"""Which rows the records of a dataset give."""

from typing import Any

import pytest

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason.config.embed import EmbedConfig, EmbeddedData, Embedding
from tao_skill_bank.models.cosmos_reason.embedding import rows
from tao_skill_bank.models.cosmos_reason.embedding.rows import Row


def record(identity: str, *turns: str, **keys: Any) -> dict[str, Any]:
    """Return a record whose turns alternate between user and assistant."""
    written = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(turns)]
    return {"id": identity, **({"conversations": written} if turns else {}), **keys}


def of(*records: dict[str, Any], **embedding: Any) -> list[Row]:
    config = EmbedConfig(dataset=EmbeddedData("a.json", "/media"), embedding=Embedding(**embedding))
    return rows.of_records(config, records)[0]


def shown(found: list[Row]) -> list[tuple[Any, ...]]:
    return [(row.file, row.modality, row.question, row.record_id) for row in found]


def test_records_of_one_clip_give_one_vision_row() -> None:
    asked = [record(name, "<video>\nWhat?", "A car.", video="a.mp4", video_fps=4) for name in "xy"]
    found = of(*asked, record("z", video="b.mp4", video_fps=4), record("text", "Why?", "So."))
    assert shown(found) == [("a.mp4", "vision", None, None), ("b.mp4", "vision", None, None)]


def test_times_of_one_file_are_clips_of_their_own_with_the_record_that_shows_them() -> None:
    parts = [record(str(start), video="a.mp4", video_fps=4, video_start=start, video_end=start + 1) for start in (0, 5)]
    assert shown(of(*parts)) == [("a.mp4", "vision", None, "0"), ("a.mp4", "vision", None, "5")]


def test_a_joint_row_has_the_question_and_what_came_before_it() -> None:
    turns = ("<video>\nWhat?", "A car.", "Which colour?", "Red.")
    one = record("x", *turns, video="a.mp4", video_fps=4)
    (last,) = of(one, kind="joint")
    assert shown([last]) == [("a.mp4", "joint", "Which colour?", "x")]
    assert last.prompt is not None
    assert [message["role"] for message in last.prompt.messages] == ["user", "assistant", "user"]
    assert [row.question for row in of(one, kind="joint", turns="all")] == ["What?", "Which colour?"]
    (alone,) = of(one, kind="joint", content="question")
    assert shown([alone]) == [("a.mp4", "text", "Which colour?", "x")]
    assert alone.media == ()


def test_a_clip_without_a_question_is_its_own_prompt_and_a_question_needs_no_answer() -> None:
    found = of(
        record("x", video="a.mp4", video_fps=4),
        record("y", "<video>\nWhat?", video="a.mp4", video_fps=4),
        record("z", "What?"),
        kind="joint",
    )
    assert shown(found) == [
        ("a.mp4", "joint", None, "x"),
        ("a.mp4", "joint", "What?", "y"),
        (None, "text", "What?", "z"),
    ]
    assert found[0].prompt is not None
    assert found[0].prompt.messages == ({"role": "user", "content": [{"type": "video"}]},)


def test_a_bad_record_stops_or_is_listed_and_data_without_any_clip_is_refused() -> None:
    config = EmbedConfig(dataset=EmbeddedData("a.json", "/media"), embedding=Embedding(on_bad_sample="skip"))
    bad = record("x", "<|im_end|>", "No.", video="a.mp4", video_fps=4)
    assert [skip.index for skip in rows.of_records(config, [record("y", video="b.mp4", video_fps=4), bad])[1]] == [1]
    with pytest.raises(BlockedError, match="im_end"):
        of(bad)
    with pytest.raises(BlockedError, match="has a clip or picture to embed"):
        of(record("text", "Why?", "So."))
