import shutil

import numpy as np
import predict_training
import pytest

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_predict import dataset, video_file


@pytest.fixture
def data(robot_data, tmp_path):
    return shutil.copytree(robot_data, tmp_path / "data")


def clip(folder, name, frames=25, size=(48, 80), caption="The arm moves."):
    video_file.write(folder / "videos" / f"{name}.mp4", np.zeros((frames, *size, 3), dtype=np.uint8), 16)
    if caption is not None:
        (folder / "metas" / f"{name}.txt").write_text(caption)


def find(data, **groups):
    return dataset.find_items(predict_training.config("unused", data, **groups))


def problems(data, **groups):
    with pytest.raises(BlockedError) as caught:
        find(data, **groups)
    return [(problem.code, problem.message) for problem in caught.value.problems]


def test_every_clip_is_an_item_with_its_prefixed_caption_and_the_size_of_the_spec(data):
    items, held_out = find(data, dataset={"caption_prefix": "A robot. ", "height": 32, "width": 64})
    assert [item.name for item in items] == [f"train-{number:05d}" for number in range(6)]
    assert [item.name for item in held_out] == [f"val-{number:05d}" for number in range(3)]
    assert [item.index for item in items] == list(range(6))
    assert {(item.num_frames, item.size) for item in [*items, *held_out]} == {(25, (32, 64))}
    text = (data / "train" / "metas" / "train-00003.txt").read_text().strip()
    assert items[3].caption == f"A robot. {text}"
    assert items[3].video == data / "train" / "videos" / "train-00003.mp4"


def test_without_validation_nothing_is_held_out_and_val_dir_is_not_read(data):
    shutil.rmtree(data / "val")
    items, held_out = find(data, validation={"enable": False})
    assert (len(items), held_out) == (6, [])


@pytest.mark.parametrize(("test_size", "count"), [(2, 2), (0.5, 3)])
def test_validation_clips_are_split_off_by_name(data, test_size, count):
    items, held_out = find(data, dataset={"val_dir": None, "test_size": test_size})
    assert (len(items), len(held_out)) == (6 - count, count)
    assert not {item.name for item in items} & {item.name for item in held_out}
    clip(data / "train", "a-new-clip")  # the others stay where they are, but for one that may come
    again = find(data, dataset={"val_dir": None, "test_size": 2})[1]
    assert len({item.name for item in again} & {item.name for item in held_out}) >= 1


def test_short_clips_broken_clips_and_missing_captions_are_one_error_that_names_all(data):
    folder = data / "train"
    clip(folder, "short-a", frames=5)
    clip(folder, "short-b", frames=8)
    clip(folder, "silent", caption=None)
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    (folder / "metas" / "broken.txt").write_text("The arm moves.")
    clip(data / "val", "short-c", frames=3)
    found = problems(data)
    codes = [code for code, _ in found]
    assert sorted(codes) == [
        "caption_missing",
        "clip_too_short",
        "clip_too_short",
        "clip_too_short",
        "media_unreadable",
    ]
    told = " ".join(message for _, message in found)
    assert all(name in told for name in ("short-a.mp4", "short-b.mp4", "short-c.mp4", "silent", "broken.mp4"))
    assert "5 frames, fewer than the window of 9" in told


def test_a_folder_without_clips_is_said_so(data):
    shutil.rmtree(data / "train" / "videos")
    assert [code for code, _ in problems(data)] == ["clips_missing"]


def test_aspect_buckets_give_clips_the_size_that_fits_them(data):
    clip(data / "train", "tall", size=(80, 48))
    clip(data / "train", "square", size=(64, 64))
    groups = {"dataset": {"aspect_buckets": True}}
    items, held_out = find(data, **groups)
    sizes = {item.name: item.size for item in items}
    assert sizes["tall"] == (80, 48)
    assert sizes["square"] == (48, 64) or sizes["square"] == (64, 48) or sizes["square"] == (48, 48)
    assert sizes["train-00000"] == held_out[0].size == (48, 80)
    assert all(height * width <= 48 * 80 and height % 16 == width % 16 == 0 for height, width in sizes.values())
    assert {item.size for item in find(data)[0]} == {(48, 80)}
