"""Sampson errors of scenes whose epipolar geometry is known."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("av")

import cv2
import scenes

from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.models.cosmos_predict import sampson
from tao_skill_bank.models.cosmos_predict.config.evaluate import Sampson
from tao_skill_bank.samples import robot

OPTIONS = Sampson(max_pairs=4, max_features=600)
FIRST, SECOND = scenes.pose(), scenes.pose(0.05, (0.5, 0.1, 0.2))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    cv2.setNumThreads(1)


def _points(count: int = 400, noise: float = 0.0, seed: int = 0) -> tuple[Any, Any]:
    """Return projections of a cloud of points, moved by `noise` pixels (standard deviation) in both images."""
    random = np.random.default_rng(seed)
    cloud = random.uniform([-3, -2, 5], [3, 2, 12], (count, 3))
    images = [scenes.project(cloud, camera) for camera in (FIRST, SECOND)]
    return images[0] + random.normal(0, noise, (count, 2)), images[1] + random.normal(0, noise, (count, 2))


# --- the formula --------------------------------------------------------------------------------------------------


def test_the_distance_is_that_of_the_formula_and_of_opencv() -> None:
    fundamental = scenes.fundamental(FIRST, SECOND)
    first, second = _points(50, noise=2.0)
    found = sampson.distances(fundamental, first, second)
    for (x, y), (u, v), distance in zip(first, second, found, strict=True):
        a, b, c = (sum(row[i] * value for i, value in enumerate((x, y, 1.0))) for row in fundamental)
        d, e, _ = (sum(fundamental[i][k] * value for i, value in enumerate((u, v, 1.0))) for k in range(3))
        assert distance == pytest.approx(abs(u * a + v * b + c) / math.sqrt(a * a + b * b + d * d + e * e), rel=1e-9)
        squared = cv2.sampsonDistance(np.array([x, y, 1.0]), np.array([u, v, 1.0]), fundamental)
        assert distance == pytest.approx(math.sqrt(squared), rel=1e-6)


def test_between_rectified_cameras_it_is_the_difference_of_rows_shared_by_both_images() -> None:
    sideways = np.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    first = np.array([[10.0, 20.0], [5.0, 7.0]])
    second = np.array([[99.0, 23.0], [4.0, 7.0]])
    assert sampson.distances(sideways, first, second) == pytest.approx([3 / math.sqrt(2), 0.0])


# --- the estimate -------------------------------------------------------------------------------------------------


def test_a_rigid_scene_has_no_error() -> None:
    error = sampson.points_error(*_points(), OPTIONS)
    assert error.mean == pytest.approx(0, abs=1e-4)
    assert (error.matches, error.inliers) == (400, 400)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0, 4.0])
def test_the_mean_grows_with_the_noise_as_theory_says(noise: float) -> None:
    """The distance is normal with the noise's own deviation, so the mean of its size is noise x sqrt(2 / pi)."""
    error = sampson.points_error(*_points(noise=noise), OPTIONS)
    assert error.mean == pytest.approx(noise * math.sqrt(2 / math.pi), rel=0.15)


def test_the_mean_over_inliers_cannot_tell_bad_from_worse() -> None:
    """Why the bands speak of all matches: an inlier is near its line by definition."""
    bad, worse = (sampson.points_error(*_points(noise=noise), OPTIONS) for noise in (2.0, 8.0))
    assert bad.mean is not None
    assert worse.mean is not None
    assert worse.mean > 3 * bad.mean
    assert bad.inlier_mean == pytest.approx(worse.inlier_mean, rel=0.3)
    assert bad.inlier_mean is not None
    assert bad.inlier_mean < OPTIONS.ransac_threshold_pixels


def test_mismatches_move_the_mean_and_not_the_median() -> None:
    first, second = _points(noise=0.3)
    second[:20] = np.random.default_rng(1).uniform(0, 190, (20, 2))
    error = sampson.points_error(first, second, OPTIONS)
    assert error.inliers >= 370
    assert error.median is not None
    assert error.median < 0.4
    assert error.mean is not None
    assert error.mean > 1


def test_fewer_than_eight_matches_are_not_measured() -> None:
    first, second = _points(7)
    error = sampson.points_error(first, second, OPTIONS)
    assert (error.mean, error.matches, error.reason) == (None, 7, "fewer than 8 matches")


def test_matches_that_agree_on_nothing_are_not_measured() -> None:
    random = np.random.default_rng(0)
    error = sampson.points_error(*(random.uniform(0, 190, (9, 2)) for _ in range(2)), OPTIONS)
    assert (error.mean, error.reason) == (None, "fewer than 8 inliers")


def test_points_that_stand_still_tell_nothing_of_the_geometry() -> None:
    first, second = _points()
    still = first + np.random.default_rng(0).normal(0, 0.1, first.shape)
    assert sampson.points_error(first, still, OPTIONS).mean is None
    still[:7] = second[:7]
    error = sampson.points_error(first, still, OPTIONS)
    assert (error.mean, error.moving) == (None, 7)
    assert "static points" in error.reason


# --- images and videos --------------------------------------------------------------------------------------------


def test_features_of_two_views_match_along_the_known_epipolar_lines() -> None:
    images = [scenes.render(camera) for camera in (FIRST, SECOND)]
    first, second = sampson._matched(*(sampson._features(image, OPTIONS) for image in images))
    assert len(first) == len({(*one, *other) for one, other in zip(first, second, strict=True)}) > 40
    assert np.median(sampson.distances(scenes.fundamental(FIRST, SECOND), first, second)) < 0.5


@pytest.mark.slow
def test_a_rigid_video_is_excellent_and_one_that_wobbles_grows_worse(tmp_path: Path) -> None:
    frames = scenes.flight(9)
    found = [
        sampson.temporal(scenes.write_clip(tmp_path / f"{pixels}.mp4", scenes.wobble(frames, pixels)), OPTIONS)
        for pixels in (0, 2, 6)
    ]
    means = [error.mean for error in found if error.mean is not None]
    assert len(means) == 3
    assert means[0] < 0.4
    assert means[0] * 2 < means[1] < means[2] / 2
    assert found[0].band == "excellent"
    assert found[2].band != "excellent"
    assert all(error.pairs == error.measured_pairs == 4 for error in found)
    assert all(error.inliers <= error.matches for error in found)


@pytest.mark.slow
def test_the_same_video_gives_the_same_numbers(tmp_path: Path) -> None:
    clip = scenes.write_clip(tmp_path / "clip.mp4", scenes.wobble(scenes.flight(5), 3))
    assert sampson.temporal(clip, OPTIONS) == sampson.temporal(clip, OPTIONS)


def test_a_frozen_video_is_not_measurable_rather_than_perfect(tmp_path: Path) -> None:
    clip = scenes.write_clip(tmp_path / "still.mp4", [scenes.render(FIRST)] * 5)
    error = sampson.temporal(clip, OPTIONS)
    assert (error.mean, error.band, error.measured_pairs) == (None, None, 0)
    assert error.matches > 100
    assert error.static_share == 1
    assert "static points" in error.reason


def test_a_plain_video_and_one_frame_are_not_measurable(tmp_path: Path) -> None:
    gray = np.full((64, 64), 90, np.uint8)
    plain = sampson.temporal(scenes.write_clip(tmp_path / "plain.mp4", [gray] * 3), OPTIONS)
    assert (plain.mean, plain.matches, plain.static_share) == (None, 0, None)
    assert plain.reason == "In most frame pairs fewer than 8 matches."
    single = sampson.temporal(scenes.write_clip(tmp_path / "single.mp4", [gray]), OPTIONS)
    assert (single.pairs, single.reason) == (0, "The video has no two frames that are 1 apart.")


@pytest.mark.slow
def test_views_of_one_scene_agree_and_views_of_two_do_not(tmp_path: Path) -> None:
    frames = scenes.flight(5)
    left = scenes.write_clip(tmp_path / "left.mp4", frames)
    right = scenes.write_clip(tmp_path / "right.mp4", scenes.flight(5, view=0.4))
    bent = scenes.write_clip(tmp_path / "bent.mp4", scenes.wobble(scenes.flight(5, view=0.4), 5))
    agree, disagree = (sampson.cross_view(left, [other], OPTIONS) for other in (right, bent))
    assert agree.mean is not None
    assert disagree.mean is not None
    assert agree.mean < 0.2
    assert disagree.mean > 1
    assert sampson.cross_view(left, [right, bent], OPTIONS).pairs == 8


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(0.99, "excellent"), (1.0, "good"), (2.99, "good"), (3.0, "fair"), (4.99, "fair"), (5.01, "poor")],
)
def test_bands(mean: float, expected: str) -> None:
    assert sampson.band(mean) == expected


def test_a_broken_video_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    with pytest.raises(BlockedError, match=r"broken\.mp4 cannot be used"):
        sampson.temporal(broken, OPTIONS)


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError) as caught:
        sampson.require()
    assert caught.value.problems[0].fix == "pip install 'tao-skill-bank[predict]'"


def test_a_clip_that_no_epipolar_geometry_fits_is_not_measurable_instead_of_an_error(tmp_path: Path) -> None:
    robot.make(tmp_path / "robot", train=3, val=3, test=6)
    for path in sorted((tmp_path / "robot" / "reference").glob("*.mp4")):
        found = sampson.temporal(path, Sampson(frame_gap=1))
        assert (found.mean is None) == bool(found.reason)
