"""Sampson error: by how many pixels matched points deviate from the epipolar geometry of two frames.

Temporal: two frames of one video. Cross-view: the frames of two videos of one scene at the same time.

Features are SIFT; a match passes Lowe's ratio test and is one-to-one. The fundamental matrix F comes from MAGSAC in
OpenCV with its fixed seed, so that the same pixels give the same numbers. The distance of a match x, x' is the square
root of the Sampson error (Hartley and Zisserman, Multiple View Geometry, 2nd edition, equation 11.9), in pixels:

    d = |x'ᵀ F x| / sqrt((F x)₁² + (F x)₂² + (Fᵀ x')₁² + (Fᵀ x')₂²)

`mean` is over *all* matches of a frame pair, then over the pairs: the bands refer to it. The mean over RANSAC's
inliers is reported as well, but does not discriminate: inliers are within ransac_threshold_pixels by definition.
Means include mismatches in full, so `median` is reported too.

A static point satisfies every F = [e]ₓ. With fewer than 8 moving matches, F is not determined, and a frozen video would
score a perfect 0: such a pair is not measurable. `static_share` is the static share of a measured video: the closer
it is to 1, the less meaningful the mean. A flat scene or a purely turning camera fits several F as well;
the distances to any of them are small, as they should be.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tao_skill_bank.errors import MissingExtraError
from tao_skill_bank.models.cosmos_predict import video_frames
from tao_skill_bank.models.cosmos_predict.config.evaluate import Sampson
from tao_skill_bank.models.cosmos_predict.video_frames import Image

Points = NDArray[np.float64]

FEWEST = 8  # needed by the eight-point algorithm
MOVING_PIXELS = 0.5  # below this, SIFT's localisation noise dominates
RATIO = 0.75  # Lowe 2004: 0.8 removes 90 % of the false matches; slightly stricter, because means include all of them
CONFIDENCE = 0.999
MAX_ITERATIONS = 5000
BANDS = ((1.0, "excellent"), (3.0, "good"), (5.0, "fair"))


@dataclass(frozen=True)
class PairError:
    """Sampson distances of one frame pair, in pixels; None with a reason if not measurable."""

    matches: int
    moving: int
    inliers: int = 0
    mean: float | None = None
    median: float | None = None
    inlier_mean: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class SampsonError:
    """The aggregate of frame pairs.

    Attributes:
        mean, median, inlier_mean: pixels; the mean of the pairs' values. None where no pair is measurable.
        band: excellent, good, fair or poor, by `mean`.
        pairs, measured_pairs: all frame pairs, and the measurable ones.
        matches, inliers: summed over all pairs.
        static_share: share of the matches that move by half a pixel at most.
        reason: why there is no mean; the most frequent one.

    """

    mean: float | None
    median: float | None
    inlier_mean: float | None
    band: str | None
    pairs: int
    measured_pairs: int
    matches: int
    inliers: int
    static_share: float | None
    reason: str = ""


def require() -> Any:
    """Return OpenCV. Raises MissingExtraError when it is not installed."""
    try:
        import cv2
    except ImportError:
        raise MissingExtraError.for_module("cv2", "predict") from None
    return cv2


def temporal(path: Path, options: Sampson) -> SampsonError:
    """Measure a video against itself `frame_gap` frames later. Raises BlockedError when it cannot be decoded."""
    starts = video_frames.count(path) - options.frame_gap
    if starts < 1:
        return _nothing(f"The video has no two frames that are {options.frame_gap} apart.")
    pairs = [(start, start + options.frame_gap) for start in video_frames.spread(starts, options.max_pairs)]
    frames = video_frames.read(path, [index for pair in pairs for index in pair], "gray")
    features = {index: _features(image, options) for index, image in frames.items()}
    return combine(points_error(*_matched(features[first], features[second]), options) for first, second in pairs)


def cross_view(path: Path, others: Sequence[Path], options: Sampson) -> SampsonError:
    """Measure a video against other views of its scene at the same times. Raises BlockedError as `temporal` does."""
    errors = []
    for other in others:
        times = video_frames.spread(min(video_frames.count(path), video_frames.count(other)), options.max_pairs)
        ours, theirs = (video_frames.read(view, times, "gray") for view in (path, other))
        for time in times:
            errors.append(pair_error(ours[time], theirs[time], options))
    return combine(errors)


def pair_error(first: Image, second: Image, options: Sampson) -> PairError:
    """Measure two gray images."""
    return points_error(*_matched(_features(first, options), _features(second, options)), options)


def points_error(first: Points, second: Points, options: Sampson) -> PairError:
    """Measure matched points, each of shape (matches, 2): F from all of them, then their distances to it."""
    matches = len(first)
    moving = int((np.linalg.norm(second - first, axis=1) > MOVING_PIXELS).sum())
    if matches < FEWEST:
        return PairError(matches, moving, reason=f"fewer than {FEWEST} matches")
    if moving < FEWEST:
        reason = f"fewer than {FEWEST} matches move, and static points fit any epipolar geometry"
        return PairError(matches, moving, reason=reason)
    cv2 = require()
    try:
        found, mask = cv2.findFundamentalMat(
            first, second, cv2.USAC_MAGSAC, options.ransac_threshold_pixels, CONFIDENCE, MAX_ITERATIONS
        )
    except cv2.error:  # MAGSAC throws instead of returning None when no sample gives a model
        return PairError(matches, moving, reason="no fundamental matrix fits the matches")
    inlying = np.zeros(matches, bool) if mask is None else mask.ravel().astype(bool)
    inliers = int(inlying.sum())
    if found is None or found.shape != (3, 3) or inliers < FEWEST:
        return PairError(matches, moving, inliers, reason=f"fewer than {FEWEST} inliers")
    errors = distances(found, first, second)
    return PairError(
        matches, moving, inliers, float(errors.mean()), float(np.median(errors)), float(errors[inlying].mean())
    )


def distances(fundamental: NDArray[np.float64], first: Points, second: Points) -> NDArray[np.float64]:
    """Return the Sampson distance of every match in pixels; `second` lies on the lines `fundamental` @ `first`."""
    ones = np.ones((len(first), 1))
    x, x_prime = np.hstack([first, ones]), np.hstack([second, ones])
    lines, back_lines = x @ fundamental.T, x_prime @ fundamental
    algebraic = np.abs((x_prime * lines).sum(axis=1))
    gradient = np.sqrt((lines[:, :2] ** 2).sum(axis=1) + (back_lines[:, :2] ** 2).sum(axis=1))
    result: NDArray[np.float64] = algebraic / np.maximum(gradient, np.finfo(float).tiny)
    return result


def band(mean: float) -> str:
    """Return the band of a mean Sampson error: below 1 excellent, 3 good, 5 fair, else poor."""
    return next((name for limit, name in BANDS if mean < limit), "poor")


def combine(errors: Iterable[PairError]) -> SampsonError:
    """Aggregate the errors of frame pairs."""
    pairs = list(errors)
    measured = [pair for pair in pairs if pair.mean is not None]
    matches = sum(pair.matches for pair in pairs)
    mean = _mean(pair.mean for pair in measured)
    return SampsonError(
        mean=mean,
        median=_mean(pair.median for pair in measured),
        inlier_mean=_mean(pair.inlier_mean for pair in measured),
        band=None if mean is None else band(mean),
        pairs=len(pairs),
        measured_pairs=len(measured),
        matches=matches,
        inliers=sum(pair.inliers for pair in pairs),
        static_share=1 - sum(pair.moving for pair in pairs) / matches if matches else None,
        reason="" if measured else f"In most frame pairs {statistics.mode(pair.reason for pair in pairs)}.",
    )


def _nothing(reason: str) -> SampsonError:
    return SampsonError(None, None, None, None, 0, 0, 0, 0, None, reason)


def _mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found else None


def _features(image: Image, options: Sampson) -> tuple[Points, Any]:
    """Return the positions and SIFT descriptors of an image's strongest features."""
    keypoints, descriptors = require().SIFT_create(nfeatures=options.max_features).detectAndCompute(image, None)
    return np.array([keypoint.pt for keypoint in keypoints], dtype=np.float64).reshape(-1, 2), descriptors


def _matched(first: tuple[Points, Any], second: tuple[Points, Any]) -> tuple[Points, Points]:
    """Return the positions of matches: those that pass the ratio test, and each feature used once."""
    if len(first[0]) < 2 or len(second[0]) < 2:
        return np.empty((0, 2)), np.empty((0, 2))
    cv2 = require()
    candidates = cv2.BFMatcher(cv2.NORM_L2).knnMatch(first[1], second[1], k=2)
    best: dict[int, Any] = {}
    for match, runner_up in candidates:
        taken = best.get(match.trainIdx)
        if match.distance < RATIO * runner_up.distance and (taken is None or match.distance < taken.distance):
            best[match.trainIdx] = match
    pairs = [(*first[0][match.queryIdx], *second[0][match.trainIdx]) for match in best.values()]
    distinct = np.unique(np.array(pairs).reshape(-1, 4), axis=0)  # SIFT gives a point a feature per orientation
    return distinct[:, :2], distinct[:, 2:]
