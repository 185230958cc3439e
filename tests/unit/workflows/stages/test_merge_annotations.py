"""Annotation files become one dataset: the same records for the same shares, with media that are found."""

import json

import pytest

from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.workflows import stage
from tao_skill_bank.workflows.stages import merge_annotations
from tao_skill_bank.workflows.stages.merge_annotations import Arguments, Source


def records(folder, count, first=0, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(first, first + count):
        (folder / f"{number}.mp4").touch()
        turns = [{"from": "human", "value": "<video>\nWhich way?"}, {"from": "gpt", "value": "left"}]
        made.append({"id": f"r{number}", "video": f"{number}.mp4", "video_fps": 4, "conversations": turns, **changes})
    (folder / "annotations.json").write_text(json.dumps(made))
    return str(folder)


def merged(tmp_path, *sources):
    folder = tmp_path / "merged"
    folder.mkdir(exist_ok=True)
    found = merge_annotations.run(Arguments(sources), stage.Context(folder, tmp_path, 0, lambda _: None))
    assert all(path.is_file() for path in merge_annotations.promised(Arguments(sources), folder))
    return found, json.loads((folder / "annotations.json").read_text())


def test_a_share_of_each_source_is_taken_by_id_and_media_are_found(tmp_path):
    old, new = records(tmp_path / "old", 20), records(tmp_path / "new" / "mined", 4, first=100, note="kept")
    sources = (Source(old, share=0.25, name="old"), Source(new, name="mined"))
    found, written = merged(tmp_path, *sources)
    assert found["taken"] == {"old": 5, "mined": 4}
    assert found["rows"] == len(written) == merge_annotations.need(Arguments(sources)).rows == 9
    assert written[-1]["note"] == "kept"
    assert all((tmp_path / media.name).is_file() for record in written for media in media_of(record))
    assert found["media"] == str(tmp_path)
    again, same = merged(tmp_path, *sources)
    assert (again, same) == (found, written)
    ids = {record["id"] for record in written}
    _, more = merged(tmp_path, Source(old, share=0.5, name="old"), Source(new, name="mined"))
    assert ids < {record["id"] for record in more}
    lineage = json.loads((tmp_path / "merged" / "lineage.json").read_text())
    assert [(each["name"], each["share"], each["available"]) for each in lineage["sources"]] == [
        ("old", 0.5, 20), ("mined", 1.0, 4),
    ]  # fmt: skip


def test_equal_records_are_kept_once_and_others_of_the_same_id_get_one_of_their_own(tmp_path):
    first = records(tmp_path / "first", 2)
    second = records(tmp_path / "second", 2)
    found, written = merged(tmp_path, Source(first, name="a"), Source(first, name="b"), Source(second, name="c"))
    assert (found["repeated"], found["renamed"]) == (2, 2)
    assert [record["id"] for record in written] == ["r0", "r1", "r0@c", "r1@c"]


def test_a_source_of_a_skipped_step_is_left_out_and_without_any_there_is_nothing_to_merge(tmp_path):
    found, _ = merged(tmp_path, Source(None), Source(records(tmp_path / "one", 2)))
    assert found["taken"] == {"source-2": 2}
    with pytest.raises(BlockedError, match="every source is null"):
        merged(tmp_path, Source(None))


def test_wrong_sources_are_refused_and_nothing_is_written(tmp_path):
    folder = records(tmp_path / "one", 1)
    with pytest.raises(RequestError, match=r"share of x is 1\.5"):
        merged(tmp_path, Source(folder, share=1.5, name="x"))
    with pytest.raises(RequestError, match="the same name"):
        merged(tmp_path, Source(folder, name="x"), Source(folder, name="x"))
    with pytest.raises(BlockedError, match="does not exist"):
        merged(tmp_path, Source(str(tmp_path / "gone.json")))
    with pytest.raises(BlockedError, match="cannot be merged"):
        merged(tmp_path, Source(records(tmp_path / "odd", 1, video={"path": 3})))
    assert not (tmp_path / "merged" / "annotations.json").exists()


def test_a_source_may_be_annotations_with_their_media(tmp_path):
    folder = records(tmp_path / "media", 3)
    moved = tmp_path / "elsewhere.json"
    (tmp_path / "media" / "annotations.json").rename(moved)
    source = Source({"annotation_path": str(moved), "media_path": folder})
    found, _ = merged(tmp_path, source)
    assert (found["rows"], found["media"]) == (3, folder)
