import shutil

import pytest
from preflight_worlds import clips_of, codes, findings_on, look, make_job, only, write_clip

from tao_skill_bank.preflight.data import steps


@pytest.fixture
def clips(tmp_path):
    """Make a folder of captioned clips: name -> number of frames."""

    def make(folder="train", **frames):
        root = tmp_path / folder
        for name, count in (frames or {"a": 13, "b": 13, "c": 13}).items():
            write_clip(root / "videos" / f"{name}.mp4", num_frames=count)
            (root / "metas").mkdir(exist_ok=True)
            (root / "metas" / f"{name}.txt").write_text("It moves.")
        return root

    return make


def clip_set(root, role="train", **options):
    return clips_of(root, role, frame_step=4, **options)


def findings_of(root, **options):
    return findings_on(clip_set(root, **options))


def test_sound_clips_are_summed_up(clips):
    found = only(findings_of(clips(a=13, b=17)), "clips")
    assert found.severity == "info"
    assert found.evidence == {
        "clips": 2,
        "usable": 2,
        "captions": {"text files": 2},
        "fewest_frames": 13,
        "most_frames": 17,
        "role": "train",
    }


def test_every_problem_of_a_folder_is_told_at_once(clips):
    root = clips(a=13, b=13, c=5, d=13)
    (root / "videos" / "a.mp4").write_bytes(b"broken")
    (root / "metas" / "b.txt").write_text("")
    (root / "metas" / "d.txt").unlink()
    found = findings_of(root)
    assert codes(found, "blocking") == ["caption_missing", "caption_empty", "clips_unreadable", "clips_too_short"]
    assert only(found, "clips_unreadable").evidence == {"files": ["videos/a.mp4"], "count": 1}
    assert only(found, "clips").evidence["usable"] == 0
    assert all(finding.fix for finding in found if finding.severity == "blocking")


@pytest.mark.slow
def test_clips_that_the_action_leaves_out_are_a_warning_while_any_is_left(clips):
    root = clips(a=13, b=5)
    found = findings_of(root, skips_unusable=True)
    assert only(found, "clips_too_short").severity == "warning"
    (root / "metas" / "a.txt").unlink()
    assert "clips_too_short" in codes(findings_of(root, skips_unusable=True), "blocking")


@pytest.mark.parametrize(
    ("min_frames", "frames", "largest", "all_short"),
    [
        (13, {"a": 13, "b": 11, "c": 7}, 5, False),
        (13, {"a": 9, "b": 12}, 9, True),
        (93, {"a": 5, "b": 6}, 5, True),
        (9, {"a": 9, "b": 4}, 1, False),
    ],
)
def test_short_clips_are_listed_with_the_largest_window_that_fits(clips, min_frames, frames, largest, all_short):
    found = only(findings_of(clips(**frames), min_frames=min_frames), "clips_too_short")
    short = {f"videos/{name}.mp4": count for name, count in frames.items() if count < min_frames}
    assert found.severity == "blocking"
    assert found.evidence == {"frames": short, "count": len(short), "largest": largest}
    assert f"to {largest}," in found.fix
    assert (f"all {len(frames)} clips" in found.message) is all_short


def test_a_variable_rate_blocks_with_a_command_that_mends_it(clips):
    root = clips(a=13)
    times = [0, 1, 2, 5, 6, 7, 8, 12, 13, 14, 15, 16]
    write_clip(root / "videos" / "a.mp4", num_frames=12, fps=8, times=times)
    found = only(findings_of(root), "clips_variable_rate")
    assert found.severity == "blocking"
    assert "constant_rate IN.mp4 OUT.mp4" in found.fix


def test_clips_of_another_rate_are_a_warning(clips):
    root = clips(a=13, b=13)
    write_clip(root / "videos" / "c.mp4", num_frames=13, fps=8)
    (root / "metas" / "c.txt").write_text("x")
    found = only(findings_of(root), "clip_rates_differ")
    assert found.severity == "warning"
    assert found.evidence["files"] == ["videos/c.mp4"]


@pytest.mark.parametrize(
    ("rates", "said", "speed", "also"),
    [
        ((12, 12), "all 2 clips", "3 times as slow", "; or set dataset.fps=12"),
        ((2, 2), "all 2 clips", "2 times as fast", "; or set dataset.fps=2"),
        ((12, 8), "all 2 clips", "at several speeds", ""),
        ((4, 8), "1 of 2 clips", "at several speeds", ""),
    ],
)
def test_clips_of_another_rate_than_the_spec_says_are_a_warning(clips, rates, said, speed, also):
    root = clips(a=13, b=13)
    for name, rate in zip("ab", rates, strict=True):
        write_clip(root / "videos" / f"{name}.mp4", num_frames=13, fps=rate)
    found = only(findings_of(root, frames_per_second=4.0, rate_key="dataset.fps"), "clip_rates_differ")
    assert found.severity == "warning"
    assert f"{said} have another rate than the 4 frames per second of dataset.fps" in found.message
    assert speed in found.message
    assert found.fix == f"Write copies at one rate: python -m tao_skill_bank.constant_rate IN.mp4 OUT.mp4 --fps 4{also}"


def test_clips_of_the_rate_that_the_spec_says_are_not_mentioned(clips):
    assert codes(findings_of(clips(), frames_per_second=4.0, rate_key="dataset.fps")) == ["clips"]


@pytest.mark.slow
def test_captions_that_are_longer_than_the_encoder_takes_are_a_warning_with_their_prefix(clips):
    root = clips(a=13, b=13)
    (root / "metas" / "a.txt").write_text("The gripper waits. " * 40)
    assert "texts_cut" not in codes(findings_of(root))
    found = only(findings_of(root, text_tokens=100, text_prefix="Watch: "), "texts_cut")
    assert (found.severity, found.evidence["cut"]) == ("warning", {"videos/a.mp4": {"tokens": 202, "words": 60}})


def test_clips_of_one_name_are_not_counted_as_usable(clips):
    root = clips(a=13, b=13, B=17)
    found = findings_of(root, skips_unusable=True)
    assert codes(found, "warning") == ["names_ambiguous"]
    assert (only(found, "clips").evidence["clips"], only(found, "clips").evidence["usable"]) == (3, 1)


def test_what_is_left_out_stays_a_note_where_unusable_clips_are_skipped(clips):
    root = clips(a=13, b=5)
    (root / "notes.md").write_text("x")
    (root / "videos" / "c.mov").write_bytes(b"x")
    found = findings_of(root, skips_unusable=True)
    assert [(each.code, each.severity) for each in found] == [
        ("clips_of_other_formats", "warning"),
        ("files_not_read", "info"),
        ("clips_too_short", "warning"),
        ("clips", "info"),
    ]


@pytest.mark.slow
def test_a_clip_in_both_sets_overlaps_whatever_its_name(clips):
    train, held_out = clips(a=13, b=17), clips("val", x=11, y=12)
    assert "train_eval_overlap" not in codes(findings_on(clip_set(train), clip_set(held_out, "eval")))
    shutil.copy(train / "videos" / "b.mp4", held_out / "videos" / "x.mp4")
    found = only(findings_on(clip_set(train), clip_set(held_out, "eval")), "train_eval_overlap")
    assert found.severity == "warning"
    assert found.evidence == {"files": ["videos/x.mp4"], "count": 1}


def test_a_link_that_leads_nowhere_is_an_unreadable_clip(clips):
    root = clips(a=13, b=13)
    (root / "videos" / "a.mp4").unlink()
    (root / "videos" / "a.mp4").symlink_to("nowhere.mp4")
    found = findings_on(clip_set(root), clip_set(clips("val", x=11), "eval"))
    assert only(found, "clips_unreadable").evidence["files"] == ["videos/a.mp4"]


def test_a_clip_with_broken_frames_blocks(clips):
    path = clips(a=13) / "videos" / "a.mp4"
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov", start) - 4
    data[start + (end - start) // 3 : end] = bytes(end - start - (end - start) // 3)
    path.write_bytes(data)
    found = findings_of(path.parent.parent)
    assert codes(found, "blocking")[0] in ("clips_truncated", "clips_unreadable")


def test_sets_that_both_number_from_zero_share_names_only(clips):
    found = findings_on(clip_set(clips(a=13)), clip_set(clips("val", a=17), "eval"))
    assert codes(found, "warning") == ["train_eval_names"]


def test_steps_count_the_usable_clips(clips, tmp_path):
    seen, _ = look(clip_set(clips(a=13, b=13, c=13, d=5)))
    job = make_job(tmp_path, batch_per_rank=2, micro_batch=1, epochs=4)
    found = only(steps.check(job, seen), "steps")
    assert (found.evidence["steps_per_epoch"], found.evidence["total_steps"]) == (1, 4)
    assert "3 training clips" in found.message
    job = make_job(tmp_path, batch_per_rank=4, micro_batch=1)
    assert only(steps.check(job, seen), "batch_exceeds_records").evidence["largest_batch"] == 3
    job = make_job(tmp_path, batch_per_rank=1, validation_split=0.01)
    assert "both sides clips" in only(steps.check(job, seen), "split_empty").fix


def test_a_folder_elsewhere_is_not_checked():
    found = findings_of("s3://bucket/clips")
    assert codes(found, "not_checked") == ["clips_remote"]


def test_without_a_decoder_captions_are_still_checked(clips, monkeypatch):
    monkeypatch.setattr("tao_skill_bank.data.media.clip_index.find_spec", lambda _: None)
    root = clips(a=13, b=13)
    (root / "metas" / "a.txt").unlink()
    found = findings_of(root)
    assert codes(found) == ["caption_missing", "clips_not_probed", "clips"]
    assert only(found, "clips").evidence["usable"] == 1


def test_a_folder_that_does_not_exist_blocks(tmp_path):
    assert codes(findings_of(tmp_path / "nowhere")) == ["clips_missing"]
