"""The operator against the formula, differentiated by autograd."""

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from tao_skill_bank.training.adapted_products import adapted_products

RANKS, OUTS, WIDTH = (2, 3), (4, 7), 5


def tensors() -> tuple[Tensor, list[Tensor], Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs, down = draw(2, 3, WIDTH), draw(sum(RANKS), WIDTH)
    weights = [draw(out, WIDTH) for out in OUTS]
    ups = [draw(out, rank) for out, rank in zip(OUTS, RANKS, strict=True)]
    return inputs, weights, down, ups


def formula(inputs: Tensor, weights: list[Tensor], down: Tensor, ups: list[Tensor]) -> list[Tensor]:
    downs = torch.split(down, list(RANKS))
    return [inputs @ (w + up @ low).T for w, up, low in zip(weights, ups, downs, strict=True)]


@pytest.mark.parametrize("wants_inputs", [True, False])
def test_outputs_and_gradients_equal_the_formula(wants_inputs: bool) -> None:
    inputs, weights, down, ups = tensors()
    trained = [down, *ups, *([inputs] if wants_inputs else [])]
    for tensor in trained:
        tensor.requires_grad_()
    expected, got = formula(inputs, weights, down, ups), adapted_products(inputs, weights, down, ups)
    torch.testing.assert_close(got, expected)
    scales = [torch.rand_like(out) for out in expected]
    losses = [sum((out * scale).sum() for out, scale in zip(outs, scales, strict=True)) for outs in (expected, got)]
    torch.testing.assert_close(*(torch.autograd.grad(loss, trained) for loss in losses))


def test_the_operator_keeps_what_torch_asks_of_operators() -> None:
    inputs, weights, down, ups = tensors()
    for tensor in (inputs, down, *ups):
        tensor.requires_grad_()
    torch.library.opcheck(torch.ops.tao_skill_bank.adapted_products.default, (inputs, weights, down, ups))
