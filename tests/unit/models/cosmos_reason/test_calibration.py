"""Calibration, worked out by hand."""

import math

import pytest

from tao_skill_bank.models.cosmos_reason import calibration


def test_probabilities_are_shares_of_the_choices() -> None:
    found = calibration.probabilities({"yes": math.log(0.06), "no": math.log(0.02)})
    assert found == pytest.approx({"yes": 0.75, "no": 0.25})
    assert calibration.probabilities({"a": -2000.0, "b": -3000.0}) == {"a": 1.0, "b": 0.0}


def test_the_error_is_the_weighted_gap_of_the_bins() -> None:
    found = calibration.measure([0.95, 0.95, 0.65, 0.65, 1.0], [True, False, True, True, True])
    assert [each.count for each in found.bins] == [0, 0, 0, 0, 0, 0, 2, 0, 0, 3]
    assert found.bins[9].accuracy == pytest.approx(2 / 3)
    assert found.ece == pytest.approx((3 * abs(2 / 3 - 2.9 / 3) + 2 * 0.35) / 5)


def test_confident_and_right_is_calibrated() -> None:
    assert calibration.measure([1.0, 1.0], [True, True]).ece == 0.0
    assert calibration.measure([0.0], [False]).bins[0].count == 1
