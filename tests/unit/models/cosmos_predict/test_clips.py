"""Windows of real clips, held against a decoder that reads every frame in order."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_predict import clips

HEIGHT, WIDTH, NUM_FRAMES = 48, 64, 40
ENCODINGS = {
    "plain": {},
    "b-frames": {"bf": "3", "g": "12"},
    "open-gop": {"x264-params": "open-gop=1:keyint=10:bframes=4"},
}


def write(path: Path, options: dict[str, str], num_frames: int = NUM_FRAMES) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16, options=options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for index in range(num_frames):
            pixels = np.full((HEIGHT, WIDTH, 3), 5 * index, np.uint8)
            pixels[:, : index + 1, 0] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def all_frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clips") / "clip.mp4", ENCODINGS["b-frames"])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_window_holds_exactly_its_frames_wherever_it_starts(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "clip.mp4", ENCODINGS[encoding])
    frames = torch.from_numpy(all_frames(path)).permute(3, 0, 1, 2) / 127.5 - 1
    assert clips.frame_count(path) == NUM_FRAMES
    assert clips.frame_size(path) == (HEIGHT, WIDTH)
    for start in range(NUM_FRAMES - 9 + 1):
        window = clips.load_window(path, start, 9, (HEIGHT, WIDTH))
        assert torch.equal(window, frames[:, start : start + 9]), start


def test_a_window_is_resized_as_pictures_are(clip: Path) -> None:
    window = clips.load_window(clip, 7, 5, (32, 48))
    assert (window.shape, window.dtype) == ((3, 5, 32, 48), torch.float32)
    assert window.min() >= -1
    assert window.max() <= 1
    picture = Image.fromarray(all_frames(clip)[7]).resize((48, 32), Image.Resampling.BILINEAR)
    expected = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(window[:, 0], expected, rtol=0, atol=1e-6)


def test_windows_are_loaded_by_many_threads_at_once(clip: Path) -> None:
    alone = [clips.load_window(clip, start, 5, (32, 32)) for start in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda start: clips.load_window(clip, start, 5, (32, 32)), range(12)))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(alone, together, strict=True))


def test_a_changed_clip_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", {}, num_frames=9)
    assert clips.frame_count(path) == 9
    write(path, {}, num_frames=13)
    assert clips.frame_count(path) == 13


def test_what_cannot_be_read_is_a_clear_error(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(BlockedError, match="40 frames; frames 36 to 44") as caught:
        clips.load_window(clip, 36, 9, (32, 32))
    assert caught.value.problems[0].code == "clip_too_short"
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    for path in (tmp_path / "broken.mp4", tmp_path / "nowhere.mp4"):
        with pytest.raises(BlockedError, match=path.name):
            clips.frame_count(path)


def test_a_clip_with_broken_frames_is_a_clear_error(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", {"g": "12"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start : data.index(b"moov", start) - 4] = bytes(data.index(b"moov", start) - 4 - start)
    path.write_bytes(data)
    with pytest.raises(BlockedError, match=r"clip\.mp4"):
        clips.load_window(path, 0, 9, (32, 32))


def test_window_starts_are_random_and_the_same_everywhere() -> None:
    assert clips.window_start(300, 93, seed=0, epoch=3, index=7) == 135
    starts = [clips.window_start(100, 93, seed=0, epoch=epoch, index=0) for epoch in range(400)]
    assert set(starts) == set(range(8))
    assert max(starts.count(start) for start in range(8)) < 80
    assert clips.window_start(93, 93, seed=0, epoch=0, index=0) == 0
    by_window = {clips.window_start(10_000, 93, seed=0, epoch=0, index=0, window=window) for window in range(4)}
    assert len(by_window) == 4


@pytest.mark.parametrize(
    ("size", "bucket"),
    [((1280, 720), (432, 768)), ((768, 432), (432, 768)), ((432, 768), (768, 432)), ((100, 100), (576, 576))],
)
def test_a_bucket_keeps_the_aspect_ratio(size: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert clips.bucket_for(*size, area=432 * 768) == bucket


@pytest.mark.parametrize("width", [320, 500, 641, 853, 1333, 2048])
def test_a_bucket_never_needs_more_memory_than_planned(width: int) -> None:
    height, columns = clips.bucket_for(width, 480, area=432 * 768)
    assert height % 16 == columns % 16 == 0
    assert 0.9 * 432 * 768 < height * columns <= 432 * 768
    assert abs(math.log(columns / height * 480 / width)) < 0.05
