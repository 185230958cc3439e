"""The overrides that are offered for too little memory keep the clips per step, and valid sizes."""

from collections.abc import Mapping
from typing import Any

import pytest

from tao_skill_bank.core import nested
from tao_skill_bank.models.cosmos_predict import ladders
from tao_skill_bank.models.cosmos_predict.config import TrainConfig
from tao_skill_bank.models.cosmos_predict.inspect import inspect
from tao_skill_bank.training import fitting
from tao_skill_bank.training.config import spec_of
from tao_skill_bank.training.fitting import Capacity

GIB = 2**30
SPEC: Mapping[str, Any] = {
    "dataset": {"train_dir": "clips", "num_frames": 93, "height": 432, "width": 768},
    "train": {"batch_size": 4, "gradient_checkpointing": "full"},
}


def test_a_smaller_batch_accumulates_to_the_same_clips_per_step() -> None:
    batches = next(ladder for ladder in ladders.of("train", SPEC) if "train.batch_size" in ladder[0])
    assert [tuple(rung.values()) for rung in batches] == [(2, 2), (1, 4)]


def test_smaller_clips_are_of_valid_sizes() -> None:
    for ladder in ladders.of("train", SPEC):
        for rung in ladder:
            assert rung.get("dataset.num_frames", 1) % 4 == 1
            assert rung.get("dataset.height", 16) % 16 == rung.get("dataset.width", 16) % 16 == 0


@pytest.mark.slow
def test_what_is_offered_for_the_2b_fits() -> None:
    def report(spec: Mapping[str, Any]) -> dict[str, Any]:
        return inspect(spec_of(TrainConfig, spec))

    capacity = Capacity(10 * GIB, is_gpu=True)
    assert not capacity.holds(report(SPEC))
    found = fitting.choices(SPEC, ladders.of("train", SPEC), report, capacity)
    assert found[0] == {"train.gradient_checkpointing": "auto"} or "train.batch_size" in found[0]
    for overrides in found:
        changed = SPEC
        for path, value in overrides.items():
            changed = nested.with_value(changed, path, value)
        assert capacity.holds(report(changed)), overrides


def test_other_actions_have_no_ladder() -> None:
    assert ladders.of("generate", {}) == []
