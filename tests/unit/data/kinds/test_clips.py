from preflight_worlds import codes, findings_on, only, write_clip

from tao_skill_bank.contracts import Input


def findings_of(path, **changes):
    return findings_on(Input("reference", "clips", {"path": str(path)}), **changes)


def test_clips_need_no_captions_and_lie_in_the_folder_or_in_videos(tmp_path):
    write_clip(tmp_path / "a.mp4")
    write_clip(tmp_path / "videos" / "b.mp4")
    (found,) = findings_of(tmp_path)
    assert (found.code, found.severity, found.evidence) == ("clips", "info", {"clips": 2})


def test_a_folder_without_clips_blocks(tmp_path):
    (tmp_path / "a.txt").write_text("no clip")
    assert codes(findings_of(tmp_path), "blocking") == ["clips_missing"]
    assert "is not a folder" in only(findings_of(tmp_path / "a.txt"), "clips_missing").message


def test_a_broken_clip_is_a_warning_since_the_action_may_not_read_it(tmp_path):
    write_clip(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"broken")
    found = findings_of(tmp_path)
    assert codes(found, "blocking") == []
    assert only(found, "clips_unreadable").severity == "warning"


def test_the_header_of_every_clip_is_read_and_as_many_are_decoded_as_are_sampled(tmp_path):
    for index in range(6):
        (tmp_path / f"{index}.mp4").write_bytes(b"broken")
    assert only(findings_of(tmp_path, num_samples=2), "clips_unreadable").evidence["count"] == 6


def test_clips_that_are_left_out_are_named(tmp_path):
    write_clip(tmp_path / "a.MP4")
    (tmp_path / "b.mov").write_bytes(b"not read")
    (tmp_path / "day" / "c.mp4").parent.mkdir()
    (tmp_path / "day" / "c.mp4").write_bytes(b"not read")
    found = findings_of(tmp_path)
    assert {each.code: each.evidence["items"] for each in found if each.severity == "warning"} == {
        "clips_in_other_folders": ["day/c.mp4"],
        "clips_of_other_formats": ["b.mov"],
    }
    assert only(found, "clips").evidence == {"clips": 1}
