import subprocess
import sys
from pathlib import Path

import av
import pytest
from preflight_worlds import write_clip

from tao_skill_bank.data import constant_rate, media_probe
from tao_skill_bank.errors import BlockedError, ConflictError

TIMES = [0, 1, 2, 5, 6, 7, 8, 12, 13]


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """A clip at 8 frames per second with two gaps; frame i has the brightness 20 i."""
    clip: Path = write_clip(tmp_path / "in.mp4", num_frames=len(TIMES), fps=8, times=TIMES)
    return clip


def brightness(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [round(float(frame.to_ndarray(format="rgb24").mean()) / 20) for frame in container.decode(video=0)]


def test_gaps_are_filled_with_the_frame_that_was_shown(uneven: Path, tmp_path: Path) -> None:
    assert media_probe.probe(uneven, 2).has_variable_rate
    copy = constant_rate.write_copy(uneven, tmp_path / "out.mp4")
    probed = media_probe.probe(copy.target, 2)
    assert (copy.num_frames, copy.frames_per_second) == (14, 8.0)
    assert (probed.num_frames, probed.container_fps, probed.has_variable_rate) == (14, 8.0, False)
    assert brightness(copy.target) == [0, 1, 2, 2, 2, 3, 4, 5, 6, 6, 6, 6, 7, 8]


def test_another_rate_keeps_the_duration(uneven: Path, tmp_path: Path) -> None:
    copy = constant_rate.write_copy(uneven, tmp_path / "out.mp4", 4)
    assert media_probe.probe(copy.target, 2).duration_seconds == pytest.approx(14 / 8, abs=0.25)


def test_nothing_is_overwritten_and_a_failure_leaves_nothing(uneven: Path, tmp_path: Path) -> None:
    with pytest.raises(ConflictError):
        constant_rate.write_copy(uneven, uneven)
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    with pytest.raises(BlockedError, match="broken"):
        constant_rate.write_copy(tmp_path / "broken.mp4", tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.mp4", "in.mp4"]


def test_the_command_of_the_finding_works(uneven: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tao_skill_bank.constant_rate", str(uneven), str(tmp_path / "out.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "14 frames at 8 frames per second" in done.stdout
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "Fix: " in failed.stderr
