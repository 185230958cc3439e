import shutil
from dataclasses import replace

import media_pool
import pytest
from PIL import Image
from preflight_worlds import codes, findings_on, look, make_record, only, use_of, write_annotations, write_clip

from tao_skill_bank.contracts import Workload
from tao_skill_bank.data import named_headers
from tao_skill_bank.data.headers import Budget, MediaFile

TURNS_OF_CLIP = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]
TURNS = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "!"}]


@pytest.fixture
def many(tmp_path, clip):
    """A dataset of 40 clips, of which 1 is sampled by `findings`."""
    root = tmp_path / "many"
    (root / "videos").mkdir(parents=True)
    for index in range(40):
        shutil.copy(clip, root / "videos" / f"{index}.mp4")
    write_annotations(root, [make_record(index) for index in range(40)])
    return root


def findings(root, use=None, **changes):
    return findings_on(use or use_of(root), **{"num_samples": 1, **changes})


def test_every_named_file_is_looked_at_though_few_are_decoded(many):
    (many / "videos" / "unnamed.mp4").write_bytes(b"broken, and nobody's")
    (many / "videos" / "17.mp4").write_bytes(b"broken")
    found = only(findings(many), "media_unreadable")
    assert found.severity == "blocking"
    assert found.evidence == {"files": ["videos/17.mp4"], "records": [17], "count": 1}
    assert "(record 17)" in found.message


def test_files_of_one_fault_are_listed_up_to_a_number_with_a_count(many):
    for index in range(5, 35):
        (many / "videos" / f"{index}.mp4").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    found = only(findings(many), "media_lfs_pointer")
    assert found.evidence["count"] == 30
    assert len(found.evidence["files"]) == 20
    assert found.message.endswith("and 10 more.")
    assert "git lfs pull" in found.fix


def test_a_clip_whose_copy_stopped_early_is_found_by_its_header(many):
    media_pool.clip(many / "videos" / "20.mp4", rate=4, is_index_first=True)
    data = (many / "videos" / "20.mp4").read_bytes()
    (many / "videos" / "20.mp4").write_bytes(data[: -len(data) // 4])
    found = only(findings(many), "media_cut_short")
    assert found.evidence["records"] == [20]


def test_one_frame_of_another_size_is_found_in_a_long_list(tmp_path):
    (tmp_path / "frames").mkdir()
    for index in range(40):
        Image.new("RGB", (64, 32 if index == 17 else 64)).save(tmp_path / "frames" / f"{index}.png")
    names = [f"frames/{index}.png" for index in range(40)]
    good = {"id": "good", "video": names[:17], "video_fps": 10, "conversations": TURNS_OF_CLIP}
    bad = {"id": "bad", "video": names, "video_fps": 10, "conversations": TURNS_OF_CLIP}
    pair = {"id": "pair", "images": names[16:18], "conversations": TURNS_OF_CLIP}
    write_annotations(tmp_path, [good, bad, pair])
    found = only(findings(tmp_path), "frame_sizes_differ")
    assert (found.severity, found.evidence) == ("blocking", {"records": [1], "count": 1})
    assert found.message.endswith("have different sizes (record 1); in record 1: 64x64, 64x32.")


def test_a_sampled_file_that_is_broken_is_reported_once(many):
    (many / "videos" / "0.mp4").write_bytes(b"broken")
    assert only(findings(many, num_samples=40), "media_unreadable").evidence["records"] == [0]


def test_rates_and_lengths_are_compared_for_all_clips(many):
    write_annotations(many, [make_record(index, video_fps=8.0 if index > 30 else 4.0) for index in range(40)])
    write_clip(many / "videos" / "9.mp4", num_frames=3)
    write_clip(many / "videos" / "12.mp4", num_frames=12, times=[0, 1, 2, 7, 8, 16, 17, 30, 31, 40, 41, 55])
    found = findings(many, workload=Workload(num_frames=8))
    assert only(found, "video_fps_differs").evidence["count"] == 9
    assert only(found, "media_too_short").evidence == {"frames": {"videos/9.mp4": 3}, "count": 1, "largest": 3}
    assert only(found, "media_variable_rate").evidence == {"files": ["videos/12.mp4"], "count": 1}


def test_records_that_give_a_clip_two_rates_are_both_compared(many):
    records = [make_record(index) for index in range(40)]
    records.append(make_record(3, id="again", video_fps=16.0))
    write_annotations(many, records)
    found = only(findings(many), "video_fps_differs")
    assert found.evidence["files"] == {"videos/3.mp4": {"declared": 16.0, "container": 4.0}}


def test_what_is_not_reached_in_time_is_one_finding_with_its_count(many):
    found = findings(many, header_budget=Budget(0))
    assert codes(found, "blocking") == []
    left = only(found, "headers_not_read")
    assert (left.severity, left.evidence["count"]) == ("not_checked", 40)
    assert "preflight_header_seconds" in left.fix


def test_files_in_an_archive_are_left_to_the_job_and_that_is_said_once(many, tmp_path):
    packed = shutil.make_archive(str(tmp_path / "videos"), "gztar", many, "videos")
    found = findings(many, use_of(many, media_path=packed))
    assert only(found, "headers_not_read").path == packed


@pytest.mark.slow
def test_frames_of_a_list_and_images_are_looked_at_as_pictures(tmp_path):
    from PIL import Image

    root = tmp_path / "pictures"
    (root / "frames").mkdir(parents=True)
    names = [f"frames/{number}.png" for number in range(3)]
    for name in [*names, "a.png"]:
        Image.fromarray(media_pool.corners()).save(root / name)
    turns = [{"from": "human", "value": "<video>?"}, TURNS[1]]
    frames = {"id": "b", "video": names, "video_fps": 2, "conversations": turns}
    write_annotations(root, [{"id": "a", "image": "a.png", "conversations": TURNS}, frames])
    (seen,), _ = look(use_of(root))
    assert set(seen.headers.found.headers) == {MediaFile("image", str(root / name)) for name in [*names, "a.png"]}
    (root / names[1]).write_bytes(b"broken")
    assert only(findings(root), "media_unreadable").evidence["records"] == [1]


def test_without_a_decoder_nothing_is_looked_at_and_that_is_said_once(many, monkeypatch):
    monkeypatch.setattr("tao_skill_bank.data.media.clip_index.find_spec", lambda _: None)
    assert codes(findings(many), "not_checked") == ["media_not_decoded"]


def test_missing_files_are_reported_as_missing_only(many):
    (many / "videos" / "7.mp4").unlink()
    assert codes(findings(many), "blocking") == ["media_missing"]


def test_annotations_that_cannot_be_read_name_no_files(many):
    write_annotations(many, "{")
    (seen,), context = look(use_of(many))
    assert named_headers.look(seen.scan, context.pool, Budget()).found.headers == {}


@pytest.mark.parametrize(("share", "severity"), [(0.05, "warning"), (0.01, "blocking"), (0.0, "blocking")])
def test_files_of_records_that_the_action_skips_are_a_warning_up_to_their_share(many, share, severity):
    for index in (3, 5):
        (many / "videos" / f"{index}.mp4").write_bytes(b"")
    use = use_of(many)
    found = findings(many, replace(use, options={**use.options, "skipped_share": share}))
    assert only(found, "media_unreadable").severity == severity
