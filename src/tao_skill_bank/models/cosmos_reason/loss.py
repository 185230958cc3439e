"""Cross-entropy of labelled tokens, summed, so that any split of a step into micro-batches and ranks adds up.

The logits of all labelled tokens at once would be the largest tensor of a packed step (vocabulary x 4 bytes each), so
they are computed, used and freed in chunks; the forward pass computes the gradients, backward only scales them.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

PIECE = 1024  # labelled tokens at a time: 0.6 GiB of float32 logits for a vocabulary of 152 k


def token_loss_sum(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Return the float32 sum over tokens of -log softmax(head h)[target], in float64 where the states are.

    Args:
        hidden: normed last hidden states (tokens, hidden) of the positions that predict a labelled token.
        head: weight of the output head (vocabulary, hidden).
        targets: int64 (tokens,).

    """
    total: Tensor = _LossSum.apply(hidden, head, targets)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return total


class _LossSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        wants_hidden, wants_head, _ = ctx.needs_input_grad
        precise = torch.promote_types(hidden.dtype, torch.float32)
        total = hidden.new_zeros((), dtype=precise)
        hidden_grads = torch.empty_like(hidden) if wants_hidden else None
        head_grad = torch.zeros_like(head) if wants_head else None
        for start in range(0, len(targets), PIECE):
            rows = slice(start, start + PIECE)
            states, wanted = hidden[rows], targets[rows, None]
            log_likelihoods = F.log_softmax(states @ head.T, dim=-1, dtype=precise)
            total -= log_likelihoods.gather(1, wanted).sum()
            if hidden_grads is None and head_grad is None:
                continue
            # d(-log p[target]) / d logits = p - onehot(target)
            logit_grads = log_likelihoods.exp_().scatter_add_(1, wanted, -torch.ones_like(wanted, dtype=precise))
            logit_grads = logit_grads.to(hidden.dtype)
            if hidden_grads is not None:
                torch.mm(logit_grads, head, out=hidden_grads[rows])
            if head_grad is not None:
                head_grad.addmm_(logit_grads.T, states)
        ctx.save_for_backward(*(grad for grad in (hidden_grads, head_grad) if grad is not None))
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grads = iter(ctx.saved_tensors)
        wants_hidden, wants_head, _ = ctx.needs_input_grad
        hidden_grads, head_grad = (
            _scaled(next(grads), scale) if wants else None for wants in (wants_hidden, wants_head)
        )
        return hidden_grads, head_grad, None


def _scaled(grad: Tensor, scale: Tensor) -> Tensor:
    return grad.mul_(scale.to(grad.dtype))  # in place: a head's gradient is a gigabyte, and it is used once
