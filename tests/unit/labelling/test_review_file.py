import json

import pytest
from preflight_worlds import make_record

from tao_skill_bank.errors import BlockedError, ConflictError, RequestError
from tao_skill_bank.labelling import importing, records_file, review_file


def lines_of(review):
    return [json.loads(line) for line in review.path.read_text().splitlines()]


def exported(labelled, records=None):
    if records is not None:
        (labelled / "annotations.json").write_text(json.dumps(records))
    return review_file.export(records_file.read(*records_file.locate(str(labelled))), labelled / "review.jsonl")


def test_an_export_has_a_line_per_record_for_people_to_fill_in(review, labelled):
    head, *lines = lines_of(review)
    assert head["media"] == str(labelled / "media")
    shown = [(line["question"], line["answer"], line["decision"], line["correction"]) for line in lines]
    assert shown == [("Which way does it move?", "left", "", "")] * 3
    assert len({line["key"] for line in lines}) == 3


def test_only_accepted_and_corrected_records_are_imported(review, labelled):
    """People filled in two lines; a third decision was appended by the page."""
    head, *lines = lines_of(review)
    lines[0]["decision"] = "accept"
    lines[1] |= {"decision": "correct", "correction": " right "}
    lines[2]["decision"] = "accept"
    lines.append({"key": lines[2]["key"], "decision": "reject", "correction": "", "at": "now"})
    review.path.write_text("".join(f"{json.dumps(line)}\n" for line in (head, *lines)))
    written = importing.write(review_file.read(review.path), labelled / "reviewed.json")
    records = json.loads(written.target.read_text())
    assert [(record["id"], record["conversations"][-1]["value"]) for record in records] == [
        ("clip-0", "left"), ("clip-1", "right"),
    ]  # fmt: skip
    assert records[0] == make_record(0)
    assert written.counts == {"accept": 1, "correct": 1, "reject": 1, "undecided": 0}
    with pytest.raises(ConflictError):
        importing.write(review_file.read(review.path), written.target)


def test_undecided_records_are_counted_and_left_out_and_none_is_an_error(review, labelled):
    with pytest.raises(BlockedError, match="accepted or corrected"):
        importing.write(review, labelled / "reviewed.json")
    assert not (labelled / "reviewed.json").exists()
    review.decide(review.undecided[0], "accept")
    written = importing.write(review, labelled / "reviewed.json")
    assert written.counts["undecided"] == 2
    assert [found.code for found in written.findings] == ["records_undecided"]


def test_a_decision_is_taken_back_and_the_last_one_counts(review):
    key = review.undecided[0]
    for choice in ("accept", "reject", ""):
        review.decide(key, choice)
    assert review_file.read(review.path).undecided == review.undecided == list(review.items)


@pytest.mark.parametrize("answer", ["", "  ", "see <video>", "nul\0", "half \ud800"])
def test_a_correction_that_no_record_may_hold_is_refused_and_nothing_is_written(review, answer):
    before = review.path.read_bytes()
    with pytest.raises(RequestError, match="correction"):
        review.decide(review.undecided[0], "correct", answer)
    assert review.path.read_bytes() == before
    assert len(review.undecided) == 3


def test_a_line_that_a_kill_tore_is_ignored_and_the_next_one_is_whole(review, labelled):
    first, second, _ = review.undecided
    review.decide(first, "accept")
    with review.path.open("ab") as file:
        file.write(b'{"key": "' + second.encode())
    again = review_file.read(review.path)
    again.decide(second, "accept")
    third = review_file.read(review.path)
    assert third.counts == {"accept": 2, "correct": 0, "reject": 0, "undecided": 1}
    assert third.num_unread == 1
    assert "review_torn" in [found.code for found in importing.write(third, labelled / "reviewed.json").findings]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"decision": "maybe"}, "line 2: 'maybe' is not a decision"),
        ({"decision": "correct"}, "line 2: The correction cannot be an answer"),
        ({"record": {"id": 1}}, "line 2: The record is not one any more"),
        ({"record": [1]}, "line 2: The record is not one any more"),
        ({"decision": ["accept"]}, "line 2"),
        ({"decision": "correct", "correction": {"a": 1}}, "line 2"),
    ],
)
def test_what_people_wrote_wrongly_is_named_by_its_line(review, change, told):
    head, first, *rest = lines_of(review)
    review.path.write_text("".join(f"{json.dumps(line)}\n" for line in (head, {**first, **change}, *rest)))
    with pytest.raises(BlockedError, match=told):
        review_file.read(review.path)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"null\n", b"[" * 100_000, b'{"key": 3}\n', b'{"review_of": 1}\n']
)
def test_a_file_that_is_no_review_is_one_clear_error(tmp_path, content):
    path = tmp_path / "review.jsonl"
    path.write_bytes(content)
    with pytest.raises(BlockedError) as caught:
        review_file.read(path)
    assert caught.value.problems[0].fix


def test_a_review_continues_for_the_same_records_only(review, labelled):
    review.decide(review.undecided[0], "accept")
    before = review.path.read_bytes()
    assert exported(labelled).counts["accept"] == 1
    assert review.path.read_bytes() == before
    with pytest.raises(ConflictError, match="a review of other records"):
        exported(labelled, [make_record(7)])


def test_records_without_an_answer_are_refused_together(labelled):
    with pytest.raises(BlockedError) as caught:
        exported(labelled, [make_record(index, conversations=[]) for index in range(2)])
    assert len(caught.value.problems) == 2


def test_a_records_media_name_leads_to_no_other_kind_of_file(labelled):
    records = records_file.read(*records_file.locate(str(labelled)))
    assert records_file.media_file(records.media, records.items[0]) == labelled / "media" / "videos" / "0.mp4"
    assert records_file.media_file(labelled / "gone", records.items[0]) is None
