"""Checks gradients before an optimizer step: their norm, and whether they are finite."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from tao_skill_bank.errors import JobFailedError
from tao_skill_bank.training.distributed import Ranks

NORM_EPSILON = 1e-6  # as in torch's clip_grads_with_norm_


def clip(parameters: Iterable[nn.Parameter], limit: float) -> float:
    """Clip gradients to a total norm of `limit` (0 or less: leave them) and return the norm before."""
    bound = limit if limit > 0 else math.inf
    norm: Any = torch.nn.utils.clip_grad_norm_(parameters, bound)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def sum_over_ranks(weights: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Replace every gradient by its sum over all ranks, which must all call this. For small replicated weights."""
    if ranks.world == 1:
        return
    weights = list(weights)
    grads = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    flat = torch.cat([grad.flatten() for grad in grads])
    ranks.sum_on_device(flat)
    parts = torch.split(flat, [grad.numel() for grad in grads])
    for weight, part in zip(weights, parts, strict=True):
        weight.grad = part.view_as(weight)


def clipping(weights: Iterable[nn.Parameter], scale: float, limit: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the factor for the gradients: `scale`, and less where their norm would exceed `limit`.

    Args:
        weights: with gradients.
        scale: of every gradient.
        limit: total norm to clip to; 0 or less never clips.

    Returns:
        The norm of the scaled gradients before clipping, and the factor, both (), on the weights' device: the host does
        not wait for them.

    """
    norm: Any = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
    norm = (norm.full_tensor() if isinstance(norm, DTensor) else norm) * scale
    clipped = (limit / (norm + NORM_EPSILON)).clamp(max=1) if limit > 0 else torch.ones_like(norm)
    return norm, scale * clipped


def multiply(weights: Iterable[nn.Parameter], factor: torch.Tensor) -> None:
    """Multiply every gradient in place."""
    grads = [weight.grad for weight in weights if weight.grad is not None]
    torch._foreach_mul_([grad.to_local() if isinstance(grad, DTensor) else grad for grad in grads], factor)


def step_unless_not_finite(optimizer: torch.optim.Optimizer, norm: torch.Tensor) -> None:
    """Take an optimizer step; skip it, if the optimizer can, where the norm of the gradients is not finite.

    The host sees such a norm only one step later. Fused kernels check a flag, as torch's GradScaler sets it.
    """
    guarded: Any = optimizer
    if optimizer.defaults.get("fused") and not _is_sharded(optimizer):
        guarded.found_inf = (~torch.isfinite(norm)).float()
    optimizer.step()
    guarded.found_inf = None


def _is_sharded(optimizer: torch.optim.Optimizer) -> bool:
    return any(isinstance(weight, DTensor) for group in optimizer.param_groups for weight in group["params"])


def require_every_part_learns(model: nn.Module, part_of: Callable[[str], str], fix: str) -> None:
    """Stop before the first optimizer step when a trained part gets no gradient, or one that is not finite.

    Args:
        model: with gradients.
        part_of: names the part that a parameter belongs to.
        fix: what to change when a gradient is not finite.

    Raises:
        JobFailedError: it names the parts.

    """
    parts: dict[str, list[Any]] = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            parts.setdefault(part_of(name), []).append(weight.grad)
    norms = {part: _norm([grad for grad in grads if grad is not None]) for part, grads in sorted(parts.items())}
    shown = ", ".join(f"{part} {norm:.3g}" for part, norm in norms.items())
    if not all(math.isfinite(norm) for norm in norms.values()):
        message = f"The first gradient is not a finite number. Norms: {shown}. Nothing was updated."
        raise JobFailedError.of("nan_loss", message, fix)
    if silent := [part for part, norm in norms.items() if norm == 0]:
        message = f"The first step gives {', '.join(silent)} no gradient, so it would never learn. Norms: {shown}."
        reach = f"Leave {', '.join(silent)} out of what is trained, or give data that reaches it (media for vision)."
        raise JobFailedError.of("part_gets_no_gradient", message, reach)


def _norm(grads: list[Any]) -> float:
    if not grads:
        return 0.0
    norm: Any = torch.nn.utils.get_total_norm(grads)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def require_finite(loss: float, grad_norm: float, fix: str) -> None:
    """Stop a training that diverged. Raises JobFailedError with this `fix`."""
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    what = "loss" if not math.isfinite(loss) else "gradient norm"
    raise JobFailedError.of("nan_loss", f"The {what} is not a finite number.", fix)
