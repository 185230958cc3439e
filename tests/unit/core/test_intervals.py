"""Confidence intervals, compared with known ones."""

import math
import random

import pytest

pytest.importorskip("numpy")

from tao_skill_bank.core.intervals import Clips, of_classes, of_mean


def _alone(count: int, seed: int = 1) -> Clips:
    return Clips.of([f"{index}.mp4" for index in range(count)], seed)


def test_the_interval_of_a_share_is_near_the_normal_one() -> None:
    interval = of_mean([1.0] * 240 + [0.0] * 160, _alone(400))
    assert interval is not None
    width = 1.96 * math.sqrt(0.6 * 0.4 / 400)
    assert (interval.low, interval.high) == pytest.approx((0.6 - width, 0.6 + width), abs=0.01)


@pytest.mark.parametrize("distinct", [2, 60])
def test_the_interval_is_that_of_scipy(distinct: int) -> None:
    import numpy as np

    bootstrap = pytest.importorskip("scipy.stats").bootstrap

    source = random.Random(distinct)
    values = [source.randrange(distinct) / distinct for _ in range(60)]
    expected = bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(0))
    interval = of_mean(values, _alone(60))
    assert interval is not None
    ends = expected.confidence_interval
    assert (interval.low, interval.high) == pytest.approx((ends.low, ends.high), abs=0.02)


def test_the_same_seed_gives_the_same_interval() -> None:
    source = random.Random(0)
    values = [source.random() for _ in range(50)]
    assert of_mean(values, _alone(50)) == of_mean(values, _alone(50))
    assert of_mean(values, _alone(50)) != of_mean(values, _alone(50, seed=2))


def test_questions_about_one_clip_are_drawn_together() -> None:
    values = [float(index % 2) for index in range(40) for _ in range(10)]
    together = of_mean(values, Clips.of([str(index // 10) for index in range(400)], 1))
    alone = of_mean(values, _alone(400))
    assert together is not None
    assert alone is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [1.0], []])
def test_values_without_spread_have_no_interval(values: list[float]) -> None:
    assert of_mean(values, _alone(len(values))) is None
    assert of_classes(["left"] * len(values), ["left"] * len(values), ["left"], _alone(len(values))) == {}


def test_one_clip_has_no_interval() -> None:
    assert of_mean([1.0, 0.0], Clips.of(["a", "a"], 1)) is None
    assert of_mean([1.0, 0.0, 1.0], Clips.of(["", "", ""], 1)) is not None  # text without a clip: each on its own


def test_figures_of_classes_lie_in_their_intervals() -> None:
    truths = ["left"] * 60 + ["right"] * 20
    predictions = ["left"] * 50 + ["right"] * 10 + ["right"] * 12 + ["cut"] * 8
    found = of_classes(truths, predictions, ["left", "right"], _alone(80))
    recalls, f1 = (50 / 60, 12 / 20), (100 / 110, 24 / 42)
    figures = {"accuracy": 62 / 80, "balanced_accuracy": sum(recalls) / 2, "macro_f1": sum(f1) / 2}
    assert set(found) == set(figures)
    for name, value in figures.items():
        assert found[name].low < value < found[name].high
