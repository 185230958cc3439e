"""x W^T + (x A^T) B^T for frozen W and trained A, B, for several layers that share x, as one operator.

One graph node instead of many: no sum is written and read again (the matrix products add in place, forward and
backward), x is read once for all low-rank products, and selective checkpointing saves one tensor per layer, the sum.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

NAME = "tao_skill_bank::adapted_products"


def adapted_products(inputs: Tensor, weights: Sequence[Tensor], down: Tensor, ups: Sequence[Tensor]) -> list[Tensor]:
    """Return the output of every layer.

    Args:
        inputs: x (..., in).
        weights: W (out, in) of each layer, frozen.
        down: A of all layers, one below the other (sum of ranks, in).
        ups: B (out, rank) of each layer, scaled.

    """
    outs: list[Tensor] = _forward(inputs, weights, down, ups)[:-1]
    return outs


@torch.library.custom_op(NAME, mutates_args=())
def _forward(inputs: Tensor, weights: Sequence[Tensor], down: Tensor, ups: Sequence[Tensor]) -> list[Tensor]:
    """Return the outputs, then the codes x A^T of all layers side by side."""
    flat = inputs.flatten(0, -2)
    codes = flat @ down.T
    outs = []
    for weight, up, code in zip(weights, ups, _split(codes, ups), strict=True):
        # The large product adds to the small one, not the reverse: reading the sum overlaps with its arithmetic.
        outs.append((code @ up.T).addmm_(flat, weight.T).view(*inputs.shape[:-1], -1))
    return [*outs, codes]


@torch.library.custom_op(f"{NAME}_backward", mutates_args=())
def _backward(
    grads: Sequence[Tensor], inputs: Tensor, weights: Sequence[Tensor], low_rank: Sequence[Tensor], wants_inputs: bool
) -> list[Tensor]:
    """Return the gradients of A, of every B and, if wanted, of x; `low_rank` is A, the codes, then every B."""
    down, codes, *ups = low_rank
    flat = inputs.flatten(0, -2)
    flat_grads = [grad.reshape(flat.shape[0], -1) for grad in grads]
    code_grads = torch.cat([grad @ up for grad, up in zip(flat_grads, ups, strict=True)], dim=1)
    found = [code_grads.T @ flat]
    found += [grad.T @ code for grad, code in zip(flat_grads, _split(codes, ups), strict=True)]
    if wants_inputs:
        total = code_grads @ down
        for grad, weight in zip(flat_grads, weights, strict=True):
            total.addmm_(grad, weight)
        found.append(total.view(inputs.shape))
    return found


def _split(codes: Tensor, ups: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return torch.split(codes, [up.shape[1] for up in ups], dim=1)


@_forward.register_fake
def _(inputs: Tensor, weights: Sequence[Tensor], down: Tensor, ups: Sequence[Tensor]) -> list[Tensor]:  # noqa: ARG001
    outs = [inputs.new_empty((*inputs.shape[:-1], weight.shape[0])) for weight in weights]
    return [*outs, inputs.new_empty((inputs.shape[:-1].numel(), down.shape[0]))]


@_backward.register_fake
def _(
    grads: Sequence[Tensor],  # noqa: ARG001 - the operator's signature
    inputs: Tensor,
    weights: Sequence[Tensor],  # noqa: ARG001
    low_rank: Sequence[Tensor],
    wants_inputs: bool,
) -> list[Tensor]:
    down, _, *ups = low_rank
    found = [down.new_empty(down.shape), *(up.new_empty(up.shape) for up in ups)]
    return [*found, inputs.new_empty(inputs.shape)] if wants_inputs else found


def _keep(ctx: Any, inputs: tuple[Tensor, list[Tensor], Tensor, list[Tensor]], output: list[Tensor]) -> None:
    tokens, weights, down, ups = inputs
    ctx.count = len(weights)
    ctx.save_for_backward(tokens, *weights, down, output[-1], *ups)


def _differentiate(ctx: Any, grads: list[Tensor]) -> tuple[Tensor | None, list[None], Tensor, list[Tensor]]:
    """The codes (the last output) get no gradient: nothing outside reads them."""
    tokens, *kept = ctx.saved_tensors
    wants_inputs: bool = ctx.needs_input_grad[0]
    found = _backward(grads[:-1], tokens, kept[: ctx.count], kept[ctx.count :], wants_inputs)
    return found[-1] if wants_inputs else None, [None] * ctx.count, found[0], found[1 : ctx.count + 1]


torch.library.register_autograd(NAME, _differentiate, setup_context=_keep)
