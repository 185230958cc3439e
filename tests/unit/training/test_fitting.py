"""What a user is offered when memory is short was tried before."""

from collections.abc import Mapping
from typing import Any

import pytest

from tao_skill_bank.errors import RequestError
from tao_skill_bank.training import fitting
from tao_skill_bank.training.fitting import Capacity

SPEC = {"batch": 8, "model": {"width": 100}}


def inspected(spec: Mapping[str, Any]) -> dict[str, Any]:
    if spec["batch"] == 2:
        raise RequestError.of("batch", "A batch of 2 is forbidden.", "Use another.")
    return {"memory_bytes_per_gpu": {"total": spec["batch"] * spec["model"]["width"]}}


def test_of_every_ladder_the_first_rung_that_fits_is_offered() -> None:
    ladders = [
        [{"batch": 4}, {"batch": 2}, {"batch": 1}],
        [{"model.width": 60}, {"model.width": 50}, {"model.width": 40}],
        [{"model.width": 99}],
    ]
    found = fitting.choices(SPEC, ladders, inspected, Capacity(400, is_gpu=False))
    assert found == [{"batch": 4}, {"model.width": 50}]


def test_a_rung_that_a_rule_forbids_is_passed_over() -> None:
    ladder = [{"batch": size} for size in fitting.halved(8, 1)]
    assert fitting.choices(SPEC, [ladder], inspected, Capacity(250, is_gpu=False)) == [{"batch": 1}]


@pytest.mark.parametrize(("is_gpu", "fits"), [(True, False), (False, True)])
def test_a_gpu_needs_headroom_for_the_smallest_execution_plan(is_gpu: bool, fits: bool) -> None:
    plan = {"name": "whole", "settings": {}, "memory_bytes": 98, "relative_time": 1.0}
    document = {"ways": [plan], "memory_bytes_per_gpu": {"total": 98}}
    assert Capacity(100, is_gpu=is_gpu).holds(document) is fits
