"""Looks at gradients before an optimizer step: their norm, and whether they are numbers at all."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from tao_skill_bank.errors import JobFailedError


def clip(parameters: Iterable[nn.Parameter], limit: float) -> float:
    """Clip gradients to a total norm of `limit` (0 or less: leave them) and return the norm before."""
    bound = limit if limit > 0 else math.inf
    norm: Any = torch.nn.utils.clip_grad_norm_(parameters, bound)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def require_finite(loss: float, grad_norm: float, fix: str) -> None:
    """Stop a training that diverged. Raises JobFailedError with the cure `fix`."""
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    what = "loss" if not math.isfinite(loss) else "gradient norm"
    raise JobFailedError.of("nan_loss", f"The {what} is not a finite number.", fix)
