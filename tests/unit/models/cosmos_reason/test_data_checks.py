"""Clips whose frames become small because they share the pixel budget are warned of, with figures and the fix."""

from typing import Any

import pytest

from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.records.values import Media
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.models.cosmos_reason import data_checks


def clip(seconds: int, *, width: int = 1280, height: int = 720) -> Probed:
    count = seconds * 30
    probe = MediaProbe(
        width=width,
        height=height,
        num_frames=count,
        declared_frames=count,
        decoded_frames=count,
        duration_seconds=seconds,
        container_fps=30,
        has_variable_rate=False,
    )
    return Probed(0, {"video": "a.mp4", "video_fps": 30}, (Media("video", "a.mp4", rate=30.0),), (probe,))


def codes(vision: dict[str, Any], *records: Probed) -> list[str]:
    return [finding.code for finding in data_checks.check({"custom": {"vision": vision}}, records)]


def test_a_long_clip_is_warned_of_with_its_frames_and_what_enlarges_them() -> None:
    vision = {"fps": 1.0, "total_pixels": 3136000}
    (found,) = data_checks.check({"custom": {"vision": vision}}, [clip(60), clip(600)])
    assert (found.code, found.severity) == ("small_frames", "warning")
    assert "600 frames of 96x32 pixels (3 tokens each)" in found.message
    fps = float(found.fix.partition("custom.vision.fps=")[2].partition(" ")[0])
    pixels = int(found.fix.partition("custom.vision.total_pixels=")[2].partition(" ")[0])
    assert codes({"fps": fps, "total_pixels": 3136000}, clip(600)) == []
    assert codes({"fps": 1.0, "total_pixels": pixels}, clip(600)) == []


@pytest.mark.parametrize(
    ("vision", "record"),
    [
        ({"fps": 1.0, "total_pixels": 3136000}, clip(60)),
        ({"fps": 1.0, "total_pixels": 3136000}, clip(60, width=64, height=64)),
        ({"nframes": 8, "total_pixels": 3136000}, clip(600)),
    ],
)
def test_a_clip_whose_frames_are_large_enough_or_small_themselves_is_not(
    vision: dict[str, Any], record: Probed
) -> None:
    assert codes(vision, record) == []


def test_the_keys_of_the_action_are_named() -> None:
    (found,) = data_checks.check({"vision": {"nframes": 600, "total_pixels": 3136000}}, [clip(600)])
    frames = int(found.fix.partition("Set vision.nframes=")[2].partition(" ")[0])
    larger = {"nframes": frames, "total_pixels": 3136000}
    assert frames < 191
    assert data_checks.check({"vision": larger}, [clip(600)]) == []
