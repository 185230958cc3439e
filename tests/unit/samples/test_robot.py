"""The robot sample: captioned clips of an arm that carries an object, in the layouts that training and testing read."""

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tao_skill_bank.data import clip_folders
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.samples import robot

pytest.importorskip("av")
pytest.importorskip("PIL")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return robot.make(tmp_path_factory.mktemp("data") / "robot", train=12, val=3, test=3)


def _digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _frames(path: Path) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == robot.FRAMES_PER_SECOND
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.slow
def test_the_same_seed_writes_the_same_bytes_and_another_seed_other_ones(data: Path, tmp_path: Path) -> None:
    assert _digest(robot.make(tmp_path / "a", train=12, val=3, test=3)) == _digest(data)
    other = _digest(robot.make(tmp_path / "b", train=3, val=3, test=3, seed=1))
    for name in ("train/videos/train-00000.mp4", "val/videos/val-00000.mp4", "test/test-00000.png"):
        assert other[name] != _digest(data)[name]


@pytest.mark.parametrize(("split", "count"), [("train", 12), ("val", 3)])
def test_every_clip_has_the_same_caption_in_its_text_file_and_in_the_table(data: Path, split: str, count: int) -> None:
    from_text = clip_folders.read(data / split)
    from_table = clip_folders.read(data / split, captions="csv")
    assert not from_text.problems
    assert not from_table.problems
    assert [clip.caption for clip in from_text.clips] == [clip.caption for clip in from_table.clips]
    assert len(from_text.captioned) == count


def test_captions_try_a_csv_parser(data: Path) -> None:
    with (data / "train" / "metadata.csv").open(newline="", encoding="utf-8") as file:
        captions = [row["prompt"] for row in csv.DictReader(file)]
    assert any("," in caption for caption in captions)
    assert any('"' in caption for caption in captions)
    assert Counter("left" in caption for caption in captions) == {True: 6, False: 6}


def test_clips_fit_the_model_and_leave_room_for_windows(data: Path) -> None:
    frames = _frames(data / "train" / "videos" / "train-00000.mp4")
    assert frames.shape == (robot.NUM_FRAMES, robot.HEIGHT, robot.WIDTH, 3)
    assert robot.NUM_FRAMES % 4 == 1
    assert robot.HEIGHT % 16 == robot.WIDTH % 16 == 0


def test_a_test_pair_is_a_prompt_and_the_first_frame_of_its_reference_clip(data: Path) -> None:
    from PIL import Image

    names = sorted(path.stem for path in (data / "test").glob("*.txt"))
    assert names == sorted(path.stem for path in (data / "test").glob("*.png"))
    assert names == sorted(path.stem for path in (data / "reference").glob("*.mp4"))
    first = np.asarray(Image.open(data / "test" / f"{names[0]}.png")).astype(float)
    assert np.abs(first - _frames(data / "reference" / f"{names[0]}.mp4")[0]).mean() < 6


def test_the_object_goes_where_the_caption_says_on_an_arc() -> None:
    for clip in robot.clips(8, seed=2):
        vivid = np.ptp(clip.frames.astype(int), axis=-1) > 80
        x, y = ([np.argwhere(frame)[:, axis].mean() for frame in vivid] for axis in (1, 0))
        assert np.sign(x[-1] - x[0]) == (1 if "right" in clip.caption else -1)
        assert min(y) == pytest.approx(y[0] - robot.LIFT, abs=2)
        assert y[-1] == pytest.approx(y[0], abs=1)


def test_a_finished_dataset_is_left_alone_and_a_foreign_folder_is_refused(data: Path, tmp_path: Path) -> None:
    written = (data / "train" / "metadata.csv").stat().st_mtime_ns
    assert robot.make(data, train=12, val=3, test=3) == data
    assert (data / "train" / "metadata.csv").stat().st_mtime_ns == written
    (tmp_path / "notes.txt").write_text("keep")
    with pytest.raises(BlockedError):
        robot.make(tmp_path, train=3, val=3, test=3)
    assert (tmp_path / "notes.txt").read_text() == "keep"
