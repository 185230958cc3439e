import shutil

from preflight_worlds import codes, make_record, use_of

from tao_skill_bank.data import overlap
from tao_skill_bank.data.scan import scan


def findings_of(train, held_out):
    return overlap.check([scan(use_of(train), (), 8), scan(use_of(held_out, "eval"), (), 8)])


def test_the_same_file_for_training_and_evaluation_overlaps(dataset):
    root = dataset()
    found = findings_of(root, root)
    assert codes(found, "warning") == ["train_eval_overlap"]
    assert found[0].evidence == {"records": [0, 1, 2, 3], "count": 4}


def test_another_question_about_a_clip_that_is_trained_on_overlaps(dataset):
    train = dataset()
    record = make_record(9, video=str(train / "videos" / "2.mp4"))
    found = findings_of(train, dataset("val", records=[make_record(7), record]))
    assert found[0].evidence == {"records": [1], "count": 1}


def test_archives_that_both_number_from_zero_do_not_overlap(dataset, tmp_path):
    roots = dataset(), dataset("val", records=[make_record(index, id=f"val-{index}") for index in range(4)])
    scans = []
    for role, root in zip(("train", "eval"), roots, strict=True):
        packed = shutil.make_archive(str(tmp_path / f"{role}-videos"), "gztar", root, "videos")
        scans.append(scan(use_of(root, role, packed), (), 8))
    assert overlap.check(scans) == []
    same = scan(use_of(roots[1], "eval", scans[0].media_path), (), 8)
    assert codes(overlap.check([scans[0], same])) == ["train_eval_overlap"]


def test_another_spelling_of_the_same_file_overlaps(dataset):
    train = dataset()
    names = (f"{train}/./videos/2.mp4", f"{train}//videos/3.mp4")
    records = [make_record(index, id=f"val-{index}", video=name) for index, name in enumerate(names)]
    assert findings_of(train, dataset("val", records=records))[0].evidence == {"records": [0, 1], "count": 2}


def test_a_copied_record_with_a_copied_clip_overlaps(dataset, tmp_path):
    train = dataset()
    shutil.copytree(train, tmp_path / "copy")
    assert codes(findings_of(train, tmp_path / "copy")) == ["train_eval_overlap"]


def test_sets_that_both_number_from_zero_do_not_overlap(dataset):
    train, held_out = dataset(), dataset("val")
    for clip in (held_out / "videos").iterdir():
        clip.write_bytes(clip.read_bytes() + clip.name.encode())
    assert findings_of(train, held_out) == []


def test_text_records_overlap_when_they_are_equal(dataset):
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]
    train = dataset(records=[{"id": 1, "conversations": turns}, {"id": 2, "conversations": turns}])
    other = [{"id": 2, "conversations": turns}, {"id": 1, "conversations": turns[::-1]}]
    found = findings_of(train, dataset("val", records=other))
    assert found[0].evidence == {"records": [0], "count": 1}


def test_one_set_alone_cannot_overlap(dataset):
    assert overlap.check([scan(use_of(dataset()), (), 8)]) == []


def test_records_without_ids_share_none(dataset):
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]
    train = dataset(records=[{"conversations": turns}, 5])
    assert findings_of(train, dataset("val", records=[{"conversations": turns}, 5])) == []


def test_held_out_data_that_a_quantization_is_calibrated_on_overlaps(dataset):
    root = dataset()
    found = overlap.check([scan(use_of(root, "calibration"), (), 8), scan(use_of(root, "eval"), (), 8)])
    assert codes(found, "warning") == ["train_eval_overlap"]
    assert "show media that are calibrated on" in found[0].message
