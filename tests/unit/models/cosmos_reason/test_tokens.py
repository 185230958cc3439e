"""Frame sampling and sizes, and that counting needs no torch."""

import subprocess
import sys

import pytest

from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.models.cosmos_reason import tokens
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling


def _indices(vision: VideoSampling, frames: int, fps: float = 10.0) -> tuple[int, ...]:
    return tokens.frame_indices(vision, container_fps=fps, num_container_frames=frames)


def test_frames_are_spread_from_the_first_to_the_last() -> None:
    assert _indices(VideoSampling(nframes=4), 10) == (0, 3, 6, 9)
    assert _indices(VideoSampling(fps=1.0), 100) == tuple(round(i * 11) for i in range(10))
    assert _indices(VideoSampling(nframes=1), 10) == (0,)


def test_sampling_by_fps_keeps_its_bounds() -> None:
    assert len(_indices(VideoSampling(fps=1.0), 10)) == 4
    assert len(_indices(VideoSampling(fps=1.0, min_frames=2), 10)) == 2
    assert len(_indices(VideoSampling(fps=10.0, max_frames=16), 100)) == 16
    assert len(_indices(VideoSampling(fps=20.0), 3)) == 3


def test_only_the_time_range_is_sampled() -> None:
    assert _indices(VideoSampling(nframes=3, video_start=2.0, video_end=4.0), 100) == (20, 30, 40)
    with pytest.raises(BlockedError, match="video_start"):
        _indices(VideoSampling(nframes=2, video_start=20.0), 100)


def test_a_clip_with_fewer_frames_than_asked_for_is_refused() -> None:
    with pytest.raises(BlockedError, match="5 frames"):
        _indices(VideoSampling(nframes=6), 5)


def test_fps_and_nframes_together_are_refused() -> None:
    with pytest.raises(RequestError):
        _indices(VideoSampling(fps=1.0, nframes=4), 10)


@pytest.mark.parametrize(("width", "height", "frames"), [(1920, 1080, 32), (333, 777, 7), (40, 3000, 4), (64, 64, 8)])
def test_the_pixel_budget_holds_and_sides_are_whole_tokens(width: int, height: int, frames: int) -> None:
    vision = VideoSampling(total_pixels=1_000_000)
    rows, columns = tokens.frame_size(vision, width=width, height=height, num_frames=frames)
    assert rows % 32 == columns % 32 == 0
    assert (frames + frames % 2) * rows * columns <= 1_000_000


def test_small_clips_are_not_scaled_up_unless_asked() -> None:
    size = {"width": 64, "height": 64, "num_frames": 8}
    assert tokens.frame_size(VideoSampling(), **size) == (64, 64)
    assert tokens.frame_size(VideoSampling(min_pixels=128 * 128), **size) == (128, 128)
    assert tokens.frame_size(VideoSampling(resized_height=100, resized_width=64), **size) == (96, 64)


def test_counting_tokens_imports_no_torch() -> None:
    code = "import sys, tao_skill_bank.models.cosmos_reason.tokens; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
