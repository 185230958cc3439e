from dataclasses import replace
from itertools import pairwise

from preflight_worlds import make_record, use_of

from tao_skill_bank.data.scan import Options, records_at, scan


def test_samples_are_spread_evenly_from_the_first_to_the_last_part(dataset):
    root = dataset(records=[make_record(index) for index in range(1000)])
    indices = [sample.index for sample in scan(use_of(root), (), 8).samples]
    assert len(indices) == 8
    assert indices[0] == 0
    assert indices[-1] > 850
    gaps = [later - earlier for earlier, later in pairwise(indices)]
    assert max(gaps) <= 2 * min(gaps)


def test_every_record_is_a_sample_of_a_small_file(dataset):
    root = dataset(records=[make_record(index) for index in range(5)])
    assert [sample.index for sample in scan(use_of(root), (), 8).samples] == [0, 1, 2, 3, 4]


def test_the_record_with_the_most_text_is_kept(dataset):
    records = [make_record(index) for index in range(100)]
    records[57]["conversations"][1]["value"] = "long answer " * 50
    assert scan(use_of(dataset(records=records)), (), 2).longest.index == 57


def test_records_can_be_read_again_by_position_without_reading_behind_the_last(dataset):
    root = dataset(records='[{"id": 0}, {"id": 1}, {"id": 2}, broken')
    assert records_at(str(root / "annotations.json"), [2, 0]) == {0: {"id": 0}, 2: {"id": 2}}


def test_records_before_a_fault_in_the_file_do_not_hide_it(dataset):
    found = scan(use_of(dataset(records='[{"id": 0}, broken')), (), 8)
    assert found.failure.code == "annotation_unreadable"


def test_records_without_a_conversation_are_usable_where_none_is_needed(dataset):
    records = [{"id": str(number), "video": "a.mp4", "video_fps": 4} for number in range(3)]
    given = replace(use_of(dataset(records=records)), role="embed")
    assert "conversations_missing" in scan(given, ("video_fps",), 2).issues
    found = scan(given, ("video_fps",), 2, Options(needs_turns=False))
    assert (found.issues, found.num_usable, found.num_media) == ({}, 3, 1)
