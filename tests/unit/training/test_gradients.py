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


@pytest.fixture
def model():
    """Two parts, each of one weight."""
    made = torch.nn.ModuleDict({"head": torch.nn.Linear(2, 2, bias=False), "body": torch.nn.Linear(2, 2, bias=False)})
    for part in made.values():
        part.weight.grad = torch.ones(2, 2)
    return made


def part_of(name):
    return name.partition(".")[0]


def test_a_model_whose_parts_all_get_gradients_passes_and_keeps_them(model):
    gradients.require_every_part_learns(model, part_of, "unused")
    assert all(torch.equal(part.weight.grad, torch.ones(2, 2)) for part in model.values())


@pytest.mark.parametrize("grad", [None, torch.zeros(2, 2)])
def test_a_part_without_a_gradient_is_named_with_the_norms_of_all(grad, model):
    model["head"].weight.grad = grad
    with pytest.raises(JobFailedError, match=r"gives head no gradient.*body 2, head 0") as caught:
        gradients.require_every_part_learns(model, part_of, "unused")
    assert caught.value.problems[0].code == "part_gets_no_gradient"
    assert "Leave head out" in caught.value.problems[0].fix


def test_a_frozen_part_needs_no_gradient(model):
    model["head"].weight.grad, model["head"].weight.requires_grad = None, False
    gradients.require_every_part_learns(model, part_of, "unused")
    assert model["head"].weight.grad is None


def test_a_first_gradient_that_is_no_number_stops_before_the_first_step(model):
    model["head"].weight.grad[0, 0] = math.nan
    with pytest.raises(JobFailedError, match="Nothing was updated") as caught:
        gradients.require_every_part_learns(model, part_of, "Lower the rate.")
    assert (caught.value.problems[0].code, caught.value.problems[0].fix) == ("nan_loss", "Lower the rate.")
