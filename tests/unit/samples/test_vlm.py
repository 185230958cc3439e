"""The sample dataset: real clips whose answer is in the motion and nowhere else."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.samples import vlm

pytest.importorskip("av")


def _digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_writes_the_same_bytes_and_another_seed_other_ones(tmp_path: Path) -> None:
    first = vlm.make(tmp_path / "a", train=6, val=3, test=3)
    second = vlm.make(tmp_path / "b", train=6, val=3, test=3)
    other = vlm.make(tmp_path / "c", train=6, val=3, test=3, seed=1)
    assert _digest(first) == _digest(second)
    assert _digest(first)["train/videos/train-00000.mp4"] != _digest(other)["train/videos/train-00000.mp4"]


def test_a_split_is_a_list_of_llava_records_with_real_clips(tmp_path: Path) -> None:
    import av

    folder = vlm.make(tmp_path / "data", train=6, val=3, test=3)
    records = json.loads((folder / "train" / "annotations.json").read_text())
    assert Counter(record["conversations"][1]["value"] for record in records) == dict.fromkeys(vlm.LABELS, 2)
    assert len({record["id"] for record in records}) == 6
    with av.open(str(folder / "train" / records[0]["video"])) as container:
        frames = list(container.decode(video=0))
        assert len(frames) == vlm.NUM_FRAMES
        assert float(container.streams.video[0].average_rate) == records[0]["video_fps"]


def test_a_finished_dataset_is_left_alone_and_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    folder = vlm.make(tmp_path / "data", train=3, val=3, test=3)
    written = (folder / "train" / "annotations.json").stat().st_mtime_ns
    vlm.make(folder, train=3, val=3, test=3)
    assert (folder / "train" / "annotations.json").stat().st_mtime_ns == written
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(BlockedError):
        vlm.make(tmp_path / "mine", train=3, val=3, test=3)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


@pytest.mark.slow
def test_the_answer_is_in_the_motion_and_not_in_any_single_frame() -> None:
    from sklearn.linear_model import LogisticRegression

    train, test = list(vlm.clips(300, seed=5)), list(vlm.clips(150, seed=5, split="test"))
    truths = [clip.answer for clip in train]

    def accuracy(features: list[np.ndarray], held_out: list[np.ndarray]) -> float:
        model = LogisticRegression(max_iter=300).fit(np.array(features), truths)
        return float(model.score(np.array(held_out), [clip.answer for clip in test]))

    def frame(clip: vlm.Clip, index: int) -> np.ndarray:
        return clip.frames[index, ::8, ::8, 0].ravel() / 255.0

    def change(clip: vlm.Clip) -> np.ndarray:
        moving = clip.frames[..., 0].astype(float) / 255.0
        across = (np.roll(moving, -2, axis=2) - np.roll(moving, 2, axis=2))[:-1]
        return np.array([((moving[1:] - moving[:-1]) * across).sum(), np.abs(moving[1:] - moving[:-1]).sum()])

    for index in (0, vlm.NUM_FRAMES - 1):
        assert accuracy([frame(clip, index) for clip in train], [frame(clip, index) for clip in test]) < 0.45
    assert accuracy([change(clip) for clip in train], [change(clip) for clip in test]) > 0.8


@pytest.mark.slow
def test_final_positions_are_distributed_alike_for_every_answer() -> None:
    from scipy.stats import ks_2samp

    columns: dict[str, list[float]] = {label: [] for label in vlm.LABELS}
    angle = np.arange(vlm.SIZE_PIXELS) / vlm.SIZE_PIXELS * 2 * np.pi
    for clip in vlm.clips(600, seed=3):
        light = clip.frames[-1, :, :, 0].astype(float).sum(axis=0)
        columns[clip.answer].append(float(np.angle((light * np.exp(1j * angle)).sum())))
    for label in ("right", "straight"):
        assert ks_2samp(columns["left"], columns[label]).pvalue > 0.01
