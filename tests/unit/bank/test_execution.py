"""The choice of a plan to run: the fastest that fits, and the reason in words."""

import json

import pytest

from tao_skill_bank.bank import execution
from tao_skill_bank.bank.execution import HEADROOM, ExecutionPlan

GIB = 2**30


def plan(name, gib, time=1.0):
    return ExecutionPlan(name, {"train.gradient_checkpointing": name}, int(gib * GIB), time)


PLANS = [plan("pointwise", 50), plan("none", 85), plan("selective", 15, 1.1), plan("full", 12, 1.3)]


@pytest.mark.parametrize(
    ("capacity", "name"), [(200, "pointwise"), (80, "pointwise"), (48, "selective"), (24, "selective"), (13, "full")]
)
def test_the_fastest_way_that_fits_is_chosen(capacity, name):
    choice = execution.choose(PLANS, capacity * GIB)
    assert choice.fits
    assert choice.plan.name == name


def test_the_reason_names_what_the_next_faster_way_would_need():
    assert execution.choose(PLANS, 80 * GIB).reason == (
        "pointwise needs about 50.0 GiB of 80.0 GiB; nothing faster is known."
    )
    expected = "needs about 15.0 GiB of 24.0 GiB; pointwise would be 10% faster and needs 50.0 GiB."
    assert execution.choose(PLANS, 24 * GIB).reason == f"selective {expected}"
    expected = "needs about 12.0 GiB of 13.0 GiB; selective would be 18% faster and needs 15.0 GiB."
    assert execution.choose(PLANS, 13 * GIB).reason == f"full {expected}"


def test_the_smallest_way_is_named_when_none_fits():
    choice = execution.choose(PLANS, 10 * GIB)
    assert not choice.fits
    assert choice.plan.name == "full"
    assert choice.reason == "full needs about 12.0 GiB at least, and a GPU has 10.0 GiB."


def test_a_way_must_leave_headroom():
    assert execution.choose([plan("full", 10)], int(10 * HEADROOM * GIB) + 1).fits
    assert not execution.choose([plan("full", 10)], int(10 * HEADROOM * GIB) - GIB // 10).fits


def test_a_single_way_is_not_compared():
    assert execution.choose([plan("full", 10)], 80 * GIB).reason == "full needs about 10.0 GiB of 80.0 GiB."


def test_without_a_gpu_there_is_nothing_to_fit_into():
    choice = execution.choose(PLANS, None)
    assert (choice.plan.name, choice.fits) == ("pointwise", True)
    assert "no GPU memory" in choice.reason


def test_ways_survive_the_json_of_a_models_inspection():
    assert execution.from_json(json.loads(json.dumps([one.to_json() for one in PLANS]))) == PLANS
