import shutil

import media_pool
import pytest
from preflight_worlds import codes, make_record, only, write_annotations

from tao_skill_bank.data.check import survey
from tao_skill_bank.data.check.distributions import Bar
from tao_skill_bank.data.check.survey import Reading


@pytest.fixture
def splits(tmp_path, clip):
    """Training and validation records, all of different clips."""
    root = tmp_path / "data"
    for split, number in (("train", 12), ("val", 3)):
        for index in range(number):
            frames = [media_pool.numbered(index)] * (5 + index + number)
            (root / split / "videos").mkdir(parents=True, exist_ok=True)
            media_pool.clip(root / split / "videos" / f"{index}.mp4", frames, rate=4)
        answers = ["yes" if index else "no" for index in range(number)]
        turns = [[{"from": "human", "value": "<video>?"}, {"from": "gpt", "value": text}] for text in answers]
        write_annotations(root / split, [make_record(index, conversations=turns[index]) for index in range(number)])
    return root


def histogram(found, title):
    return next(each for each in found.histograms if each.title == title)


@pytest.mark.slow
def test_a_dataset_of_records_is_described_by_split(splits):
    found = survey.look(splits)
    assert (found.kind, found.is_usable) == ("annotations", True)
    train, val = found.splits
    assert (train.name, train.num_usable, train.num_media, train.num_broken) == ("train", 12, 12, 0)
    assert train.seconds == sum(range(17, 29)) / 4
    assert dict(train.classes) == {"yes": 11, "no": 1}
    assert dict(val.classes) == {"yes": 2, "no": 1}
    assert histogram(found, "Size").bars == (Bar("96x64", 15),)
    assert histogram(found, "Rate").bars == (Bar("4", 15),)
    assert histogram(found, "Classes").bars == (Bar("yes", 13), Bar("no", 2))
    assert histogram(found, "Frames").count == 15


@pytest.mark.slow
def test_classes_of_very_different_sizes_are_a_warning(splits):
    found = only(survey.look(splits).findings, "classes_unbalanced")
    assert found.path == str(splits / "train" / "annotations.json")
    assert (found.severity, found.evidence) == ("warning", {"largest": 11, "smallest": 1})


@pytest.mark.slow
def test_faults_block_and_copies_in_two_splits_are_a_warning(splits):
    shutil.copy(splits / "train" / "videos" / "4.mp4", splits / "val" / "videos" / "1.mp4")
    (splits / "train" / "videos" / "7.mp4").write_bytes(b"")
    found = survey.look(splits)
    assert not found.is_usable
    assert codes(found.findings, "blocking") == ["media_unreadable"]
    assert only(found.findings, "split_leak").evidence["files"] == ["val/videos/1.mp4 = train/videos/4.mp4"]
    assert found.splits[0].num_broken == 1


@pytest.mark.slow
def test_tokens_are_those_that_a_model_predicts_of_headers(splits):
    reading = Reading(tokens=lambda _, probes: 100 + probes[0].num_frames, tokens_by="by a model")
    found = histogram(survey.look(splits, reading=reading), "Tokens")
    assert (found.unit, found.count, found.least, found.most) == ("by a model", 15, 108, 128)


@pytest.mark.slow
def test_without_a_model_tokens_are_left_out_with_the_reason(splits):
    assert histogram(survey.look(splits, reading=Reading(no_tokens="none here")), "Tokens").missing == "none here"


def test_answers_with_many_values_are_open(splits):
    turns = [{"from": "human", "value": "<video>?"}]
    records = [
        make_record(index % 12, id=str(index), conversations=[*turns, {"from": "gpt", "value": f"it shows {index}"}])
        for index in range(60)
    ]
    write_annotations(splits / "train", records)
    found = survey.look(splits / "train")
    assert "open" in histogram(found, "Classes").missing


@pytest.mark.slow
def test_records_lack_what_the_reader_needs(splits):
    records = [make_record(index) for index in range(12)]
    del records[3]["video_fps"]
    write_annotations(splits / "train", records)
    found = survey.look(splits / "train", reading=Reading(required_fields=("video_fps",)))
    assert codes(found.findings, "blocking") == ["video_fps_missing"]


def test_class_folders_are_classes(tmp_path):
    for name, number in (("cut", 2), ("lift", 1)):
        for index in range(number):
            (tmp_path / name).mkdir(exist_ok=True)
            media_pool.clip(tmp_path / name / f"{index}.mp4", [media_pool.numbered(index + number)] * 9)
    found = survey.look(tmp_path)
    assert found.kind == "class_folders"
    assert dict(found.splits[0].classes) == {"cut": 2, "lift": 1}


@pytest.mark.slow
def test_prompts_and_captioned_clips_are_described_by_their_media(tmp_path):
    from PIL import Image

    prompts, clips = tmp_path / "prompts", tmp_path / "clips"
    for folder in (prompts, clips):
        folder.mkdir()
        (folder / "a.txt").write_text("a robot lifts a cup")
    Image.fromarray(media_pool.corners()).save(prompts / "a.png")
    media_pool.clip(clips / "a.mp4")
    found = survey.look(prompts)
    assert (found.kind, histogram(found, "Size").bars) == ("prompt_pairs", (Bar("96x64", 1),))
    assert histogram(found, "Duration").missing
    found = survey.look(clips)
    assert (found.kind, histogram(found, "Duration").bars) == ("captioned_clips", (Bar("2", 1),))


def test_annotations_that_cannot_be_read_block_and_the_rest_is_empty(tmp_path):
    write_annotations(tmp_path, "{")
    found = survey.look(tmp_path)
    assert codes(found.findings, "blocking") == ["annotation_unreadable"]
    assert all(each.missing for each in found.histograms)
