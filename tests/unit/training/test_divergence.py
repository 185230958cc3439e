"""A loss that has run away stops the training."""

import math

import pytest

pytest.importorskip("torch")

from tao_skill_bank.errors import JobFailedError
from tao_skill_bank.training.divergence import MARGIN, WINDOW, Divergence

VOCABULARY = 384
GUESS = math.log(VOCABULARY)


def watched(losses: list[float]) -> int:
    """Return how many losses a watch takes before it stops."""
    divergence = Divergence(VOCABULARY, "Lower train.optm_lr.")
    for step, loss in enumerate(losses, start=1):
        try:
            divergence.watch(loss, step)
        except JobFailedError as error:
            problem = error.problems[0]
            assert problem.code == "loss_diverged"
            assert f"at step {step}, worse than guessing" in problem.message
            assert "train.optm_lr" in problem.fix
            return step
    return len(losses) + 1


def test_a_loss_that_climbs_far_above_guessing_stops_within_a_window() -> None:
    stopped = watched([1.0] * WINDOW + [4 * GUESS] * WINDOW)
    assert WINDOW < stopped <= 2 * WINDOW


def test_single_hard_batches_do_not_stop_it() -> None:
    losses = [1.0, 1.0, 1.0, 3 * GUESS] * WINDOW
    assert watched(losses) > len(losses)


def test_a_model_that_knows_nothing_yet_may_start_above_guessing() -> None:
    start = 3 * GUESS  # of a head whose logits are large
    falling = [start * 0.98**step for step in range(10 * WINDOW)]
    assert watched(falling) > len(falling)
    climbing = [start * 1.03**step for step in range(10 * WINDOW)]
    assert watched(climbing) < 3 * WINDOW


@pytest.mark.parametrize(("level", "stops"), [(0.99, False), (1.01, True)])
def test_the_limit_is_half_again_above_guessing(level: float, *, stops: bool) -> None:
    losses = [1.0] * WINDOW + [level * MARGIN * GUESS] * WINDOW
    assert (watched(losses) <= len(losses)) is stops
