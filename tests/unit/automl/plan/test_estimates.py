from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from preflight_worlds import make_job

from tao_skill_bank.automl.plan import estimates
from tao_skill_bank.automl.plan.estimates import Estimate
from tao_skill_bank.automl.plan.options import AutomlOptions, Metric
from tao_skill_bank.bank.skill_info import AutomlEvaluation
from tao_skill_bank.contracts import Request, from_json, to_json
from tao_skill_bank.core.findings import info

LOSS = Metric("val/avg_loss", "minimize")
ACCURACY = Metric("accuracy", "maximize", "evaluate")
WITH_DATA = Request("skill", "train", datasets={"eval": "folder"})
ONE = {"seconds": [100.0, 400.0], "source": "arithmetic", "how": "by its arithmetic"}


@dataclass
class FakeStudy:
    """The parts of a study that its estimate reads."""

    metric: Metric = LOSS
    rungs: bool = False
    evaluation: AutomlEvaluation | None = None
    max_epochs: int = 2
    parallel: int = 1
    options: AutomlOptions = field(default_factory=lambda: AutomlOptions(max_trials=9))

    space = SimpleNamespace(dimensions=())

    @property
    def keys(self):
        return SimpleNamespace(epochs="train.epoch", evaluation=self.evaluation)

    def setup(self):
        return SimpleNamespace(rungs=(1, 3))


def estimate(tmp_path, study, request=WITH_DATA, one=ONE):
    findings = [info("estimate", "It takes a while.", **one)] if one else []
    return estimates.of(study, make_job(tmp_path, epochs=2), request, findings)


EVALUATION = AutomlEvaluation("evaluate", "accuracy", "maximize")


@pytest.mark.parametrize(
    ("study", "request_", "evaluations"),
    [
        (FakeStudy(), WITH_DATA, 0),
        (FakeStudy(evaluation=EVALUATION), WITH_DATA, 2),  # the base and the best
        (FakeStudy(evaluation=EVALUATION), Request("skill", "train"), 0),
        (FakeStudy(evaluation=EVALUATION, metric=ACCURACY), WITH_DATA, 2 + 9),
        (FakeStudy(evaluation=EVALUATION, metric=ACCURACY, rungs=True), WITH_DATA, 2 + 9 + 3),
    ],
)
def test_the_evaluations_of_a_search_are_part_of_its_time(tmp_path, study, request_, evaluations):
    found = estimate(tmp_path, study, request_)
    plain = estimate(tmp_path, FakeStudy(rungs=study.rungs), request_)
    assert found.evaluations == evaluations
    assert (found.seconds > plain.seconds) == bool(evaluations)
    assert (f"{evaluations} evaluations" in found.how) == bool(evaluations)


def test_trainings_take_their_epochs_and_each_its_start(tmp_path):
    found = estimate(tmp_path, FakeStudy(max_epochs=4))
    low, high = 9 * 8 + 36 * (100 - 8) / 2, 9 * 60 + 36 * (400 - 60) / 2
    assert found.seconds_range == pytest.approx((low, high), rel=0.05)
    assert (found.device, found.source) == ("cpu", "arithmetic")
    assert "CPU hours" in estimates.text(found, "CPU hours")


def test_trials_at_once_take_less_time_and_the_same_hours(tmp_path):
    one, three = (estimate(tmp_path, FakeStudy(parallel=number)) for number in (1, 3))
    assert three.seconds == pytest.approx(one.seconds / 3)
    assert three.gpu_hours == one.gpu_hours


def test_a_search_whose_training_is_not_known_says_so(tmp_path):
    found = estimate(tmp_path, FakeStudy(), one=None)
    assert (found.seconds, found.seconds_range) == (None, ())
    assert "not known" in estimates.text(found, "CPU hours")


def test_estimates_of_earlier_releases_keep_their_bytes_and_are_shown():
    document = {"epochs": 20, "seconds": 90.0, "gpu_hours": 0.5, "how": "job x"}
    found = from_json(Estimate, document, "a plan")
    assert to_json(found) == document
    assert estimates.text(found, "GPU hours") == "about 1.5 min and 0.5 GPU hours: job x"


def test_the_finding_holds_what_a_plan_of_one_job_would(tmp_path):
    study = FakeStudy(evaluation=EVALUATION)
    (found,) = estimates.finding(estimate(tmp_path, study), make_job(tmp_path))
    assert {"seconds", "device_hours", "device", "source", "how"} <= found.evidence.keys()
    assert "CPU hours" in found.message
