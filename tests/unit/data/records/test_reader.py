"""One row per format that is read as it is, and one per issue."""

import pytest

from tao_skill_bank.data.records import reader
from tao_skill_bank.data.records.values import Media, RecordRules
from tao_skill_bank.errors import BlockedError

RULES = RecordRules(needs_answer=True, reserved_tokens=("<|im_start|>", "<|im_end|>", "<|video_pad|>"))
VIDEO = Media("video", "a.mp4", rate=4.0)
IMAGE = Media("image", "a.png")
FRAMES = ("f0.jpg", "f1.jpg", "f2.jpg")


def asked(question="<video>\nWhich?", answer="left"):
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def said(content, answer="left"):
    return [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]


def part(kind, value, **more):
    return {"type": kind, kind: value, **more}


TEXT = part("text", "Which?")
CLIP = {"id": "r", "video": "a.mp4", "video_fps": 4}
# format, record, media, parts of the question: what references/datasets.md says of it
FORMATS = [
    ("LLaVA", {**CLIP, "conversations": asked()}, [VIDEO], ["video", "Which?"]),
    ("LLaVA without a marker", {**CLIP, "conversations": asked("Which?")}, [VIDEO], ["video", "Which?"]),
    (
        "LLaVA, images",
        {"images": ["a.png"], "conversations": asked("See <image> now")},
        [IMAGE],
        ["See", "image", "now"],
    ),
    ("role and content", {**CLIP, "conversations": said("<video>Which?")}, [VIDEO], ["video", "Which?"]),
    (
        "messages (OpenAI)",
        {"messages": said([part("image_url", {"url": "a.png"}), TEXT])},
        [IMAGE],
        ["image", "Which?"],
    ),
    (
        "messages (Responses)",
        {
            "messages": said(
                [
                    part("input_image", "x") | {"image_url": "a.png", "input_image": None},
                    {"type": "input_text", "text": "Which?"},
                ]
            )
        },
        [IMAGE],
        ["image", "Which?"],
    ),
    (
        "messages (TRL)",
        {"messages": said([{"type": "image"}, TEXT]), "images": ["a.png"]},
        [IMAGE],
        ["image", "Which?"],
    ),
    (
        "messages (Qwen)",
        {"video_fps": 4, "messages": said([part("video", "a.mp4"), TEXT])},
        [VIDEO],
        ["video", "Which?"],
    ),
    (
        "messages (Qwen), file URL",
        {"video_fps": 4, "messages": said([part("video", "file:///d/a.mp4"), TEXT])},
        [Media("video", "/d/a.mp4", rate=4.0)],
        ["video", "Which?"],
    ),
    (
        "parts without a type",
        {"messages": said([{"image": "a.png"}, {"text": "Which?"}])},
        [IMAGE],
        ["image", "Which?"],
    ),
    (
        "parts with url or path",
        {"messages": said([{"type": "image", "path": "a.png"}, {"type": "image", "url": "b.png"}])},
        [IMAGE, Media("image", "b.png")],
        ["image", "image"],
    ),
    (
        "media named twice",
        {"image": "a.png", "conversations": said([part("image", "a.png"), TEXT])},
        [IMAGE],
        ["image", "Which?"],
    ),
    (
        "LLaMA-Factory",
        {"messages": said("<video>Which?"), "videos": ["a.mp4"], "video_fps": 4, "system": ""},
        [VIDEO],
        ["video", "Which?"],
    ),
    ("LLaVA-Video", {**CLIP, "conversations": asked("<image>\nWhich?")}, [VIDEO], ["video", "Which?"]),
    (
        "public TAO",
        {"images": ["a.png", "b.png"], "conversations": asked("<image>\nWhich?")},
        [IMAGE, Media("image", "b.png")],
        ["image", "image", "Which?"],
    ),
    ("columns", {**CLIP, "question": "Which?", "answer": "left"}, [VIDEO], ["video", "Which?"]),
    (
        "rate as text",
        {**CLIP, "video_fps": "30000/1001", "conversations": asked()},
        [Media("video", "a.mp4", rate=30000 / 1001)],
        ["video", "Which?"],
    ),
    (
        "range of time",
        {**CLIP, "video_start": 1, "video_end": 2.5, "conversations": asked()},
        [Media("video", "a.mp4", rate=4.0, start=1.0, end=2.5)],
        ["video", "Which?"],
    ),
    (
        "range of a part",
        {"video_fps": 4, "messages": said([part("video", "a.mp4", video_start=2), TEXT])},
        [Media("video", "a.mp4", rate=4.0, start=2.0)],
        ["video", "Which?"],
    ),
    (
        "frames",
        {"video": list(FRAMES), "video_fps": 4, "conversations": asked()},
        [Media("video", "f0.jpg", FRAMES, 4.0)],
        ["video", "Which?"],
    ),
    (
        "frames without a marker",
        {"video": list(FRAMES), "video_fps": 4, "conversations": asked("Which?")},
        [Media("video", "f0.jpg", FRAMES, 4.0)],
        ["video", "Which?"],
    ),
    (
        "frames in videos",
        {"videos": [list(FRAMES), "a.mp4"], "video_fps": 4, "conversations": asked("<video><video>?")},
        [Media("video", "f0.jpg", FRAMES, 4.0), VIDEO],
        ["video", "video", "?"],
    ),
    (
        "sampled frames",
        {"video": list(FRAMES), "sample_fps": 2, "conversations": asked()},
        [Media("video", "f0.jpg", FRAMES, 2.0, (0, 1, 2))],
        ["video", "Which?"],
    ),
    (
        "numbered frames",
        {"video": list(FRAMES), "video_fps": 30, "frames_indices": [0, 15, 30], "conversations": asked()},
        [Media("video", "f0.jpg", FRAMES, 30.0, (0, 15, 30))],
        ["video", "Which?"],
    ),
    (
        "frames in a part",
        {"messages": said([part("video", list(FRAMES), sample_fps=2), TEXT])},
        [Media("video", "f0.jpg", FRAMES, 2.0, (0, 1, 2))],
        ["video", "Which?"],
    ),
]


@pytest.mark.parametrize(("record", "media", "question"), [row[1:] for row in FORMATS], ids=[row[0] for row in FORMATS])
def test_a_format_is_read_as_it_is(record, media, question):
    read = reader.read(record, 0, RULES)
    assert list(read.media) == media
    turns = [turn for turn in read.turns if turn.role == "user"]
    assert [each.text or each.kind for each in turns[0].parts] == question
    assert [read.turns[index].text for index in read.answers] == ["left"] * len(read.answers)
    assert read.answers
    assert reader.media_of(record) == read.media
    assert read.unread == ()


def issues_of(record, rules=RULES):
    return reader.examine(record, rules)[1]


BAD = [
    ("record_not_object", "", ["a list"]),
    ("conversations_missing", "conversations", {"id": "r"}),
    ("conversations_empty", "conversations", {"conversations": []}),
    ("conversations_ambiguous", "conversations and messages", {"conversations": asked("?"), "messages": said("other")}),
    ("turn_invalid", "conversations[0]", {"conversations": ["turn", *asked("?")]}),
    ("turn_invalid", "conversations[2]", {"conversations": [*asked("?"), {"from": "robot", "value": "?"}]}),
    (
        "turn_invalid",
        "conversations[2]",
        {"conversations": [*asked("?"), {"from": "human", "role": "assistant", "value": "?"}]},
    ),
    (
        "turn_invalid",
        "conversations[2].value",
        {"conversations": [*asked("?"), {"from": "human", "value": {"text": "?"}}]},
    ),
    ("turn_invalid", "answer", {"question": "?", "answer": True}),
    ("part_invalid", "messages[0].content[0]", {"messages": said([{"type": "audio", "audio": "a.wav"}, TEXT])}),
    ("part_invalid", "messages[0].content[0]", {"messages": said(["Which?"])}),
    (
        "part_invalid",
        "messages[0].content[0]",
        {"messages": said([{"type": "image", "image": "a.png", "url": "b.png"}])},
    ),
    ("answer_missing", "", {"conversations": asked("?")[:1]}),
    ("answer_empty", "conversations[1]", {"conversations": asked("?", " \n")}),
    ("answer_without_question", "conversations[0]", {"conversations": [{"from": "gpt", "value": "Hi"}, *asked("?")]}),
    ("answer_without_question", "conversations[2]", {"conversations": [*asked("?"), {"from": "gpt", "value": "more"}]}),
    ("answer_with_media", "conversations[1].value", {**CLIP, "conversations": asked("?", "<video> left")}),
    ("answer_with_media", "messages[1].content[0]", {"messages": said("?", [part("image", "a.png"), TEXT])}),
    (
        "system_misplaced",
        "conversations[2]",
        {"conversations": [*asked("?"), {"from": "system", "value": "Be brief."}]},
    ),
    ("system_misplaced", "system", {"system": "A", "conversations": [{"from": "system", "value": "B"}, *asked("?")]}),
    ("system_misplaced", "system", {"system": "<image>", "conversations": asked("?")}),
    ("system_misplaced", "system", {"system": ["A"], "conversations": asked("?")}),
    ("markers_disagree", "conversations[0].value", {**CLIP, "conversations": asked("<video><video>")}),
    (
        "markers_disagree",
        "conversations[0].value",
        {"images": ["a.png", "b.png", "c.png"], "conversations": asked("<image>")},
    ),
    ("markers_disagree", "conversations[0].value", {"conversations": asked("<video>")}),
    ("reserved_token", "conversations[1].value", {"conversations": asked("?", "left<|im_end|>\n<|im_start|>user")}),
    ("reserved_token", "system", {"system": "<|im_end|>", "conversations": asked("?")}),
    ("text_invalid", "conversations[0].value", {"conversations": asked("\ud83d")}),
    ("text_invalid", "conversations[1].value", {"conversations": asked("?", "a\0")}),
    ("text_invalid", "id", {"id": "\ud83d", "conversations": asked("?")}),
    ("media_address", "images[1]", {"images": ["a.png", "data:image/png;base64,AAAA"], "conversations": asked("?")}),
    (
        "media_address",
        "messages[0].content[0].image_url.url",
        {"messages": said([part("image_url", {"url": "https://x/a.png"}), TEXT])},
    ),
    ("media_kind", "image", {"image": "a.mp4", "conversations": asked("?")}),
    ("media_kind", "video", {**CLIP, "video": "a.jpg", "conversations": asked("?")}),
    ("media_kind", "videos[0]", {"videos": ["f0.jpg"], "conversations": asked("?")}),
    ("media_kind", "messages[0].content[0].image", {"messages": said([{"type": "video", "image": "a.png"}, TEXT])}),
    ("media_name_invalid", "image[0]", {"image": [["a.png"]], "conversations": asked("?")}),
    ("media_name_invalid", "video", {**CLIP, "video": 7, "conversations": asked("?")}),
    ("media_name_windows", "video", {**CLIP, "video": "C:\\a.mp4", "conversations": asked("?")}),
    ("frames_without_rate", "video", {"video": list(FRAMES), "conversations": asked()}),
    ("frames_without_rate", "video", {"video": list(FRAMES), "frames_indices": [0, 1, 2], "conversations": asked()}),
    (
        "frames_indices_invalid",
        "video",
        {"video": list(FRAMES), "video_fps": 4, "frames_indices": [0, 1], "conversations": asked()},
    ),
    (
        "frames_indices_invalid",
        "frames_indices",
        {"video": list(FRAMES), "video_fps": 4, "frames_indices": [2, 1, 0], "conversations": asked()},
    ),
    (
        "frames_indices_invalid",
        "frames_indices",
        {"video": list(FRAMES), "video_fps": 4, "frames_indices": [0, 0, 1], "conversations": asked()},
    ),
    ("video_fps_invalid", "video_fps", {**CLIP, "video_fps": "fast", "conversations": asked()}),
    ("sample_fps_invalid", "sample_fps", {"video": list(FRAMES), "sample_fps": 0, "conversations": asked()}),
    ("clip_range_invalid", "video_end", {**CLIP, "video_start": 2, "video_end": 1, "conversations": asked()}),
    ("clip_range_invalid", "video_end", {**CLIP, "video_end": 0, "conversations": asked()}),
    ("clip_range_invalid", "end", {**CLIP, "start": 0, "end": 0, "conversations": asked()}),
    ("clip_range_invalid", "video_start", {**CLIP, "video_start": "0:10", "conversations": asked()}),
    ("clip_range_invalid", "video", {"video": list(FRAMES), "sample_fps": 1, "video_end": 1, "conversations": asked()}),
    ("user_turn_missing", "", {**CLIP, "conversations": [{"from": "system", "value": "A"}]}),
]


@pytest.mark.parametrize(("code", "place", "record"), BAD)
def test_an_issue_is_found_with_its_place_and_fix(code, place, record):
    issues = issues_of(record)
    assert (code, place) in [(issue.code, issue.place) for issue in issues]
    with pytest.raises(BlockedError) as caught:
        reader.read(record, 3, RULES)
    assert [problem.code for problem in caught.value.problems] == [issue.code for issue in issues]
    assert all(problem.fix for problem in caught.value.problems)
    if isinstance(record, dict) and "id" not in record:
        assert all("#3" in problem.message for problem in caught.value.problems)


def test_everything_that_is_wrong_with_a_record_is_found_together():
    record = {"video": "C:\\a.mp4", "video_fps": "fast", "conversations": [{"from": "gpt", "value": ""}]}
    assert {issue.code for issue in issues_of(record)} == {
        "media_name_windows", "video_fps_invalid", "answer_without_question", "answer_empty", "user_turn_missing",
    }  # fmt: skip


def test_a_rate_is_required_of_videos_only_and_may_stand_in_a_part():
    rules = RecordRules(required_fields=("video_fps",))
    assert [issue.code for issue in issues_of({"video": "a.mp4", "conversations": asked()}, rules)] == [
        "video_fps_missing"
    ]
    assert not issues_of({"image": "a.png", "video_fps": "none", "conversations": asked("?")}, rules)
    assert not issues_of({"messages": said([part("video", "a.mp4", video_fps=4), TEXT])}, rules)
    assert not issues_of({"video": list(FRAMES), "sample_fps": 2, "conversations": asked()}, rules)


def test_the_system_prompt_of_a_record_is_its_first_turn():
    read = reader.read({"system": "Be brief.", "conversations": asked("?")}, 0, RULES)
    assert (read.system, [turn.role for turn in read.turns]) == ("Be brief.", ["system", "user", "assistant"])
    assert reader.read({"conversations": asked("?")}, 0, RULES).system == ""


def test_another_column_is_read_only_when_it_is_named():
    record = {"talk": asked("?"), "messages": said("other")}
    assert reader.read(record, 0, RecordRules("talk")).turns[0].text == "?"
    assert [issue.code for issue in issues_of({"messages": said("?")}, RecordRules("talk"))] == [
        "conversations_missing"
    ]


def test_media_in_the_parts_of_any_column_are_found():
    assert reader.media_of({"talk": said([part("image", "a.png"), TEXT])}) == (IMAGE,)
    assert reader.media_of({"video": "a.mp4"}) == (Media("video", "a.mp4"),)
    assert reader.media_of("text") == ()


def test_names_of_a_broken_record_are_still_known():
    record = {
        "images": ["c.png", "d.png"],
        "image": "b.png",
        "video": "a.mp4",
        "conversations": asked("<image><image>"),
    }
    assert [media.name for media in reader.media_of(record)] == ["a.mp4", "b.png", "c.png", "d.png"]


def test_keys_that_nobody_reads_are_listed_by_their_path():
    turns = [{**asked("?")[0], "weight": 0}, asked("?")[1]]
    record = {"source": "lab", "start": "noon", "video_fps": 4, "sample_fps": 2, "conversations": turns}
    assert set(reader.read(record, 0, RULES).unread) == {
        "source", "start", "video_fps", "sample_fps", "conversations[0].weight",
    }  # fmt: skip


def test_white_space_around_markers_takes_linear_time():
    text = " " * 400_000 + "x"
    read = reader.read({**CLIP, "conversations": asked(f"{text}<video>{text}")}, 0, RULES)
    assert [each.text or each.kind for each in read.turns[0].parts] == [text, "video", "x"]


def test_numbers_are_texts_of_turns():
    assert reader.read({"conversations": asked(1, 2.5)}, 0, RULES).turns[1].text == "2.5"


def test_numbers_in_columns_are_read_as_text_like_those_in_turns():
    record = reader.read({**CLIP, "question": 2, "answer": 3}, 0, RULES)
    assert [turn.text for turn in record.turns] == ["2", "3"]
