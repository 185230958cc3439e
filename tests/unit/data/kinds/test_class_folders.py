import shutil

import pytest
from preflight_worlds import codes, findings_on, look, make_job, only, write_clip

from tao_skill_bank.contracts import Input
from tao_skill_bank.preflight.data import steps


@pytest.fixture
def labelled(tmp_path):
    """Make a folder per class: class name -> number of clips, of 9 frames each unless told otherwise."""

    def make(root="train", frames=9, **classes):
        for position, (name, count) in enumerate((classes or {"left": 2, "right": 2}).items()):
            (tmp_path / root / name).mkdir(parents=True)
            for index in range(count):
                write_clip(tmp_path / root / name / f"{index}.mp4", num_frames=frames + 4 * position + index)
        return tmp_path / root

    return make


def classes(root, role="train", **options):
    return Input(role, "class_folders", {"path": str(root)}, options)


def findings_of(root, **options):
    return findings_on(classes(root, **options))


@pytest.mark.slow
def test_sound_classes_are_summed_up_and_their_clips_counted_for_the_steps(labelled, tmp_path):
    root = labelled(left=2, right=3)
    found = only(findings_of(root), "class_folders")
    assert found.severity == "info"
    assert found.evidence == {"role": "train", "classes": {"left": 2, "right": 3}, "usable": 5}
    seen, _ = look(classes(root))
    given = only(steps.check(make_job(tmp_path, batch_per_rank=2), seen), "steps")
    assert given.evidence["steps_per_epoch"] == 2
    assert "training clips" in given.message


def test_a_root_that_is_missing_empty_or_a_file_blocks(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("absent", "empty", "file"):
        assert codes(findings_of(tmp_path / name)) == ["class_folders_missing"]


def test_every_problem_of_the_classes_is_reported_at_once(labelled):
    root = labelled(left=2, right=1, none=0)
    (root / "left" / "0.mp4").write_bytes(b"broken")
    found = findings_of(root, min_clips=2)
    assert codes(found, "blocking") == ["class_empty", "clips_unreadable", "class_too_small"]
    assert only(found, "class_empty").evidence["classes"] == ["none"]
    assert only(found, "clips_unreadable").evidence == {"files": ["left/0.mp4"], "count": 1}
    assert "left/0.mp4 (it is text, not a video)" in only(found, "clips_unreadable").message
    assert only(found, "class_too_small").evidence["classes"] == {"left": 1, "right": 1}
    assert all(finding.fix for finding in found if finding.severity == "blocking")


def test_names_that_differ_in_case_only_block(labelled):
    found = only(findings_of(labelled(Left=1, left=1, right=1)), "class_names_alike")
    assert found.severity == "blocking"
    assert found.evidence["classes"] == [["Left", "left"]]


def test_clips_that_are_too_short_block_and_do_not_count(labelled):
    found = findings_of(labelled(left=1, right=1), min_frames=12)
    assert only(found, "clips_too_short").evidence["files"] == ["left/0.mp4"]
    assert only(found, "class_folders").evidence["usable"] == 1


def test_clips_outside_of_a_class_are_a_warning_and_hidden_files_are_left_out(labelled):
    root = labelled()
    shutil.copy(root / "left" / "0.mp4", root / "loose.mp4")
    (root / "left" / ".0.mp4").write_bytes(b"")
    (root / ".cache").mkdir()
    found = findings_of(root)
    assert codes(found, "blocking") == []
    assert only(found, "clips_without_class").evidence == {"files": ["loose.mp4"], "count": 1}


@pytest.mark.slow
def test_classes_that_the_training_lacks_block_the_evaluation(labelled):
    train, held_out = labelled(), labelled("val", frames=20, left=1, up=1)
    found = findings_on(classes(train), classes(held_out, "eval"))
    assert only(found, "classes_unknown").evidence == {"classes": ["up"]}
    assert "train_eval_overlap" not in codes(found)


@pytest.mark.slow
def test_a_clip_in_both_sets_overlaps_whatever_its_name(labelled):
    train, held_out = labelled(), labelled("val", frames=20, left=1, right=1)
    shutil.copy(train / "left" / "1.mp4", held_out / "right" / "0.mp4")
    found = only(findings_on(classes(train), classes(held_out, "eval")), "train_eval_overlap")
    assert found.severity == "warning"
    assert found.evidence == {"files": ["right/0.mp4"], "count": 1}


def test_without_a_decoder_classes_are_still_checked(labelled, monkeypatch):
    monkeypatch.setattr("tao_skill_bank.data.media.clip_index.find_spec", lambda _: None)
    found = findings_of(labelled(left=2, right=1), min_clips=2)
    assert codes(found) == ["class_too_small", "clips_not_probed", "class_folders"]
