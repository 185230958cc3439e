import math

import pytest

pytest.importorskip("torch")

import torch

from tao_skill_bank.errors import JobFailedError
from tao_skill_bank.training import gradients


@pytest.fixture
def parameters():
    """Two tensors with gradients of total norm 5, and one without."""
    made = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    made[0].grad, made[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    return made


@pytest.mark.parametrize(("limit", "left"), [(1.0, 1.0), (2.5, 2.5), (10.0, 5.0), (0.0, 5.0), (-1.0, 5.0)])
def test_gradients_are_clipped_to_the_limit_and_the_norm_before_is_told(limit, left, parameters):
    assert gradients.clip(iter(parameters), limit) == pytest.approx(5.0)
    norm = math.sqrt(sum(float(one.grad.square().sum()) for one in parameters if one.grad is not None))
    assert norm == pytest.approx(left, rel=1e-4)
    assert parameters[2].grad is None


def test_a_gradient_that_is_no_number_is_seen_in_the_norm(parameters):
    parameters[0].grad[0] = math.nan
    assert math.isnan(gradients.clip(parameters, 1.0))


@pytest.mark.parametrize(
    ("loss", "norm", "what"),
    [
        (math.nan, 1.0, "loss"),
        (math.inf, math.nan, "loss"),
        (1.0, math.inf, "gradient norm"),
        (1.0, math.nan, "gradient"),
    ],
)
def test_a_training_that_diverged_is_stopped_with_the_cure(loss, norm, what):
    with pytest.raises(JobFailedError, match=f"The {what}") as caught:
        gradients.require_finite(loss, norm, "Lower the rate.")
    problem = caught.value.problems[0]
    assert (problem.code, problem.fix) == ("nan_loss", "Lower the rate.")


def test_finite_numbers_pass():
    gradients.require_finite(0.0, 1e30, "unused")
