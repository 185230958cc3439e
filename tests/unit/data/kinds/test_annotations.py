import shutil
from array import array

import pytest
from preflight_worlds import codes, findings_on, look, make_record, only, use_of

from tao_skill_bank.contracts import Finding, Input

ROOT = "s3://lab/data"
REMOTE = Input("train", "annotations", {"annotation_path": f"{ROOT}/annotations.json", "media_path": ROOT})


@pytest.mark.slow
def test_records_media_and_sets_are_checked_together(dataset):
    root = dataset(records=[make_record(0, video_fps=None), make_record(1), make_record(9)])
    found = findings_on(use_of(root), use_of(root, "eval"), required_fields=("video_fps",))
    each = ["video_fps_missing", "dataset_records", "media_missing", "media_decoded"]
    assert codes(found) == [*each, *each, "train_eval_overlap"]


def test_what_is_seen_counts_records_and_media_and_keeps_the_decoded_samples(dataset):
    records = [make_record(index, video=f"videos/{index % 3}.mp4") for index in range(7)]
    (seen,), _ = look(use_of(dataset(records=records)), num_samples=3)
    assert (seen.noun, seen.num_usable, seen.num_media, len(seen.records)) == ("records", 7, 3, 3)


def test_the_turns_of_another_column_are_read_there(dataset):
    record = make_record(0)
    record["dialog"] = record.pop("conversations")
    given = use_of(dataset(records=[record]))
    assert "conversations_missing" in codes(findings_on(given))
    named = Input("train", "annotations", given.paths, {"conversations_key": "dialog"})
    assert codes(findings_on(named), "blocking") == []


def test_remote_annotations_are_read_from_their_copy_and_media_compared_with_what_the_store_lists(dataset):
    copy = str(dataset() / "annotations.json")
    names = array("q", [hash(f"{ROOT}/videos/{index}.mp4") for index in range(3)])
    found = findings_on(
        REMOTE,
        local_copies={REMOTE.paths["annotation_path"]: copy},
        is_stored=lambda path: path == ROOT,
        stored_names=lambda _: names,
    )
    assert only(found, "dataset_records").evidence["usable"] == 4
    assert only(found, "media_missing").evidence["files"] == ["videos/3.mp4"]


def test_remote_annotations_without_a_copy_say_why():
    why = Finding("storage_unreachable", "blocking", "The store does not answer.", "Start it.")
    assert findings_on(REMOTE, unread={REMOTE.paths["annotation_path"]: why}) == [why]


@pytest.mark.slow
def test_two_archives_are_taken_apart_without_mixing_their_samples(dataset, tmp_path):
    inputs = []
    for role, name in (("train", "one"), ("eval", "two")):
        root = dataset(name)
        packed = shutil.make_archive(str(tmp_path / f"{name}-videos"), "gztar", root, "videos")
        inputs.append(use_of(root, role, packed))
    found = findings_on(*inputs)
    assert [each.evidence["files"] for each in found if each.code == "media_decoded"] == [4, 4]
