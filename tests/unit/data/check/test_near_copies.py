"""Near-duplicates of real clips and pictures."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import media_pool
import numpy as np
import pytest
from mining_pools import write_clips
from PIL import Image

from tao_skill_bank.data.check import near_copies
from tao_skill_bank.data.media import clip_frames
from tao_skill_bank.errors import BlockedError


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"), 20)


def fingerprints(paths):
    with ThreadPoolExecutor(1) as pool:
        return near_copies.fingerprints(paths, pool)


def changed(source, target, change=lambda frame: frame, step=1, rate=4, crf="30"):
    frames = list(clip_frames.read(Path(source), range(8)).values())[::step]
    return str(media_pool.clip(target, [change(frame) for frame in frames], rate=rate, options={"crf": crf}))


def larger(frame):
    return np.asarray(Image.fromarray(frame).resize((160, 120)))


def brighter(frame):
    return np.clip(frame.astype(int) + 12, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "options", [{}, {"crf": "36"}, {"change": larger}, {"change": brighter}, {"step": 2, "rate": 2}, {"rate": 8}]
)
def test_a_copy_that_was_encoded_again_is_found(tmp_path, clips, options):
    copy = changed(clips[3], tmp_path / "copy.mp4", **options)
    assert near_copies.copies(fingerprints([copy]), fingerprints(clips)) == {copy: clips[3]}


def test_clips_of_the_same_scene_with_another_motion_are_not_copies(clips):
    found = fingerprints(clips)
    for name, seen in found.items():
        assert near_copies.copies({name: seen}, {other: found[other] for other in clips if other != name}) == {}


def test_pictures_are_compared_like_clips_of_one_frame(tmp_path, clips):
    frame = clip_frames.read(Path(clips[0]), [0])[0]
    Image.fromarray(frame).save(tmp_path / "one.png")
    Image.fromarray(frame).save(tmp_path / "two.jpg", quality=60)
    Image.fromarray(np.rot90(frame)).save(tmp_path / "three.png")
    one, two, three = (str(tmp_path / name) for name in ("one.png", "two.jpg", "three.png"))
    assert near_copies.copies(fingerprints([two, three]), fingerprints([one])) == {two: one}


def test_frames_without_contrast_are_no_evidence(tmp_path):
    dark = [str(media_pool.clip(tmp_path / f"{name}.mp4", [np.full((64, 64, 3), 9, np.uint8)] * 4)) for name in "ab"]
    seen = fingerprints(dark)
    assert len(seen[dark[0]].hashes) == 0
    assert near_copies.copies({dark[0]: seen[dark[0]]}, {dark[1]: seen[dark[1]]}) == {}


def test_what_cannot_be_read_is_an_error_of_that_file_alone(tmp_path, clips):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 64)
    seen = fingerprints([str(broken), clips[0], str(tmp_path / "absent.mp4")])
    assert [isinstance(each, BlockedError) for each in seen.values()] == [True, False, True]
