"""The first validation that does not write the metric of best/ says so."""

import pytest

from tao_skill_bank.contracts import MonitoringMetric
from tao_skill_bank.errors import JobFailedError
from tao_skill_bank.training.validation_score import score_of

ACCURACY = MonitoringMetric("val/accuracy", "maximize")


def test_the_score_is_the_models_metric_among_all_that_were_written() -> None:
    assert score_of({"val/avg_loss": 2.0, "val/accuracy": 0.25}, ACCURACY) == 0.25


def test_a_metric_that_is_not_written_is_one_error_with_its_file_and_those_that_are() -> None:
    with pytest.raises(JobFailedError) as caught:
        score_of({"val/avg_loss": 2.0, "val/top5": 0.5}, ACCURACY)
    (problem,) = caught.value.problems
    assert problem.code == "metric_never_written"
    assert "val/accuracy" in problem.message
    assert "val/avg_loss, val/top5" in problem.message
    assert "skill_info.yaml" in problem.fix
