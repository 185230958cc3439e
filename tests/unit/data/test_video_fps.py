import json

import pytest
from preflight_worlds import make_record, write_annotations, write_clip

from tao_skill_bank.data.annotations import load_records
from tao_skill_bank.data.video_fps import fix_video_fps
from tao_skill_bank.errors import BlockedError, ConflictError, MissingExtraError, RequestError


@pytest.fixture
def root(tmp_path):
    """A dataset whose second record lacks video_fps, third has a wrong type, fourth only an image."""
    folder = tmp_path / "data"
    for index, fps in enumerate((4, 8, 24)):
        write_clip(folder / "videos" / f"{index}.mp4", fps=fps)
    records = [
        make_record(0, video_fps=99),
        make_record(1),
        make_record(2, video_fps="fast"),
        {"id": "é", "image": "a.png"},
    ]
    del records[1]["video_fps"]
    write_annotations(folder, records)
    return folder


def test_missing_and_invalid_rates_are_taken_from_the_container(root, tmp_path):
    source, target = root / "annotations.json", tmp_path / "fixed.json"
    before = source.read_bytes()
    report = fix_video_fps(source, target)
    original = load_records(source)
    fixed = load_records(target)
    assert [record.get("video_fps") for record in fixed] == [99, 8.0, 24.0, None]
    assert fixed == [original[0], {**original[1], "video_fps": 8.0}, {**original[2], "video_fps": 24.0}, original[3]]
    assert (report.records, report.fixed, report.probed) == (4, 2, 2)
    assert source.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "fixed.json"]


def test_the_copy_may_be_json_lines_and_lie_beside_other_media(root, tmp_path):
    target = tmp_path / "fixed.jsonl"
    (tmp_path / "a.json").write_text((root / "annotations.json").read_text())
    fix_video_fps(tmp_path / "a.json", target, root)
    assert [json.loads(line)["id"] for line in target.read_text().splitlines()] == ["clip-0", "clip-1", "clip-2", "é"]


def test_the_source_is_never_overwritten(root):
    source = root / "annotations.json"
    before = source.read_bytes()
    for target in (source, root / "videos" / ".." / "annotations.json"):
        with pytest.raises(ConflictError):
            fix_video_fps(source, target)
    assert source.read_bytes() == before


def test_an_existing_target_is_refused(root, tmp_path):
    target = tmp_path / "fixed.json"
    target.write_text("mine")
    with pytest.raises(ConflictError):
        fix_video_fps(root / "annotations.json", target)
    assert target.read_text() == "mine"


def test_every_unreadable_video_is_listed_and_nothing_is_written(root, tmp_path):
    (root / "videos" / "1.mp4").write_bytes(b"broken")
    (root / "videos" / "2.mp4").unlink()
    with pytest.raises(BlockedError) as caught:
        fix_video_fps(root / "annotations.json", tmp_path / "fixed.json")
    assert [problem.path.rpartition("/")[2] for problem in caught.value.problems] == ["1.mp4", "2.mp4"]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_broken_annotation_file_writes_nothing(root, tmp_path):
    (root / "annotations.json").write_text('[{"id": 1}, NaN]')
    with pytest.raises(BlockedError):
        fix_video_fps(root / "annotations.json", tmp_path / "fixed.json")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_media_root_or_target_folder_that_does_not_exist_is_refused(root, tmp_path):
    with pytest.raises(RequestError):
        fix_video_fps(root / "annotations.json", tmp_path / "fixed.json", tmp_path / "absent")
    with pytest.raises(RequestError):
        fix_video_fps(root / "annotations.json", tmp_path / "absent" / "fixed.json")


def test_text_that_cannot_be_encoded_survives(root, tmp_path):
    text = json.dumps([{"id": "\ud800", "conversations": []}])
    (root / "annotations.json").write_text(text)
    fix_video_fps(root / "annotations.json", tmp_path / "fixed.json")
    assert load_records(tmp_path / "fixed.json") == json.loads(text)


def test_without_the_decoder_the_pip_command_is_named(root, tmp_path, monkeypatch):
    monkeypatch.setattr("tao_skill_bank.data.media.clip_index.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        fix_video_fps(root / "annotations.json", tmp_path / "fixed.json")
    assert caught.value.problems[0].fix == "pip install 'tao-skill-bank[train]'"
