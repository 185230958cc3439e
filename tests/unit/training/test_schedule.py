"""The learning rate over a run."""

import math

import pytest

from tao_skill_bank.training.schedule import Schedule


def test_warm_up_is_linear_from_zero_and_reaches_the_peak() -> None:
    schedule = Schedule(num_steps=100, num_warmup_steps=10, decay="none")
    assert [schedule.factor(step) for step in (0, 5, 10, 99)] == [0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("decay", "halfway"),
    [("linear", 0.5), ("sqrt", 1 - math.sqrt(0.5)), ("cosine", 0.5), ("none", 1.0)],
)
def test_decay_has_its_shape(decay: str, halfway: float) -> None:
    schedule = Schedule(num_steps=100, decay=decay)  # type: ignore[arg-type]
    assert schedule.factor(0) == 1.0
    assert schedule.factor(50) == pytest.approx(halfway)


@pytest.mark.parametrize("decay", ["linear", "sqrt", "cosine"])
def test_decay_ends_at_the_floor(decay: str) -> None:
    schedule = Schedule(num_steps=100, num_warmup_steps=20, decay=decay, min_factor=0.1)  # type: ignore[arg-type]
    assert schedule.factor(100) == pytest.approx(0.1)
    assert all(schedule.factor(step) >= 0.1 for step in range(20, 101))
