import json
import math

import pytest
from preflight_worlds import codes, make_record, only, use_of

from tao_skill_bank.contracts import Input
from tao_skill_bank.data import record_findings
from tao_skill_bank.data.scan import scan

FIELDS = ("video_fps",)
QUESTION = {"from": "human", "value": "<video>\nWhere?"}


def findings_of(root, role="train"):
    return record_findings.check(scan(use_of(root, role), FIELDS, 8))


def test_a_clean_dataset_has_only_its_record_count(dataset):
    found = findings_of(dataset())
    assert codes(found) == ["dataset_records"]
    assert found[0].evidence["usable"] == 4


def test_every_record_without_video_fps_is_named_by_index(dataset):
    records = [make_record(0), make_record(1, video_fps=None), make_record(2), make_record(3)]
    del records[3]["video_fps"]
    found = only(findings_of(dataset(records=records)), "video_fps_missing")
    assert found.severity == "blocking"
    assert (found.evidence["records"], found.evidence["count"]) == ([1, 3], 2)
    assert "record 1, 3" in found.message
    assert "tao-skills data fix-video-fps" in found.fix


def test_twenty_records_are_named_and_the_rest_counted(dataset):
    records = [{**make_record(index), "video_fps": 0} for index in range(50)]
    found = only(findings_of(dataset(records=records)), "video_fps_invalid")
    assert (found.evidence["records"], found.evidence["count"]) == (list(range(20)), 50)
    assert "and 30 more" in found.message


@pytest.mark.parametrize("value", [0, -4, "fast", "0/1", True, [4], 10**400])
def test_a_video_fps_that_is_no_positive_number_blocks(dataset, value):
    root = dataset(records=[make_record(0, video_fps=value)])
    assert only(findings_of(root), "video_fps_invalid").severity == "blocking"


def test_an_infinite_video_fps_blocks(dataset):
    text = json.dumps([make_record(0, video_fps=math.pi)]).replace(str(math.pi), "1e999")
    assert only(findings_of(dataset(records=text)), "video_fps_invalid")


def test_image_only_records_need_no_video_fps(dataset):
    record = {
        "id": "a",
        "image": "a.png",
        "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}],
    }
    assert codes(findings_of(dataset(records=[record]))) == ["dataset_records"]


def test_a_file_that_cannot_be_read_is_one_blocking_finding(dataset):
    for text in ("", "{}", "[NaN]", "\ufeff[]", "[{]"):
        found = findings_of(dataset(records=text))
        assert codes(found) == ["annotation_unreadable"]
        assert found[0].severity == "blocking"


def test_an_empty_list_blocks(dataset):
    assert codes(findings_of(dataset(records="[]"))) == ["annotation_empty"]


def test_an_annotation_behind_a_uri_is_not_checked():
    use = Input("train", "annotations", {"annotation_path": "s3://bucket/a.json", "media_path": "s3://bucket"})
    assert [(f.code, f.severity) for f in record_findings.check(scan(use, FIELDS, 8))] == [
        ("annotation_remote", "not_checked")
    ]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (["a list"], "record_not_object"),
        ({"id": "a"}, "conversations_missing"),
        ({"id": "a", "conversations": []}, "conversations_empty"),
        ({"id": "a", "conversations": "text"}, "conversations_empty"),
        ({"id": "a", "conversations": ["turn"]}, "turn_invalid"),
        ({"id": "a", "conversations": [{"from": "robot", "value": "?"}]}, "turn_invalid"),
        ({"id": "a", "conversations": [{"from": "human"}]}, "turn_invalid"),
        ({"id": "a", "conversations": [{"from": "human", "value": "?"}]}, "answer_missing"),
        ({"id": "a", "conversations": [QUESTION, {"from": "gpt", "value": "!"}]}, "markers_disagree"),
    ],
)
def test_a_record_the_trainer_would_refuse_blocks(dataset, record, code):
    found = only(findings_of(dataset(records=[make_record(0), record])), code)
    assert found.severity == "blocking"
    assert found.evidence == {"records": [1], "count": 1}


def test_turns_with_role_and_content_are_accepted(dataset):
    turns = [
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "Where?"}]},
        {"role": "assistant", "content": "left"},
    ]
    assert codes(findings_of(dataset(records=[make_record(0, conversations=turns)]))) == ["dataset_records"]


def test_records_that_are_scored_or_measured_need_an_answer(dataset):
    root = dataset(records=[make_record(0, conversations=[QUESTION])])
    assert all("answer_missing" in codes(findings_of(root, role)) for role in ("eval", "calibration"))


def test_repeated_ids_block_and_are_named(dataset):
    records = [make_record(0), make_record(1), make_record(2, id="clip-0"), make_record(3, id="clip-0")]
    found = only(findings_of(dataset(records=records)), "duplicate_ids")
    assert found.severity == "blocking"
    assert found.evidence == {"ids": ["clip-0", "clip-0"], "records": [2, 3], "count": 2}


def test_records_without_an_id_are_no_duplicates_but_a_warning(dataset):
    records = [make_record(index) for index in range(4)]
    for record in records[1:]:
        del record["id"]
    found = findings_of(dataset(records=records))
    assert codes(found) == ["id_missing", "dataset_records"]
    assert found[0].severity == "warning"


def test_all_kinds_of_faults_are_told_in_one_pass(dataset):
    records = [make_record(0, video_fps=None), make_record(0, conversations=[QUESTION]), 7]
    assert codes(findings_of(dataset(records=records)), "blocking") == [
        "answer_missing",
        "record_not_object",
        "video_fps_missing",
        "duplicate_ids",
    ]
