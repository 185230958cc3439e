"""How the blocks of the network run: compiled or not, and which of them are recomputed in the backward pass."""

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tao_skill_bank.training.float8 import Float8

RECOMPILE_LIMIT = (
    64  # block types x training or not x lengths until they are dynamic; the default of 8 falls back to eager
)

Run = Callable[..., Tensor]


@dataclass(frozen=True)
class Execution:
    """How blocks run.

    Attributes:
        recompute: share of the blocks, from the first on, whose activations are recomputed in the backward pass:
            0 needs the most memory, 1 the least and a third more time.
        compile: whether torch.compile fuses the blocks; the first steps take about a minute more.
        has_dropout: whether blocks draw random numbers, which recomputation must reproduce.
        float8: float8 settings of the decoder's linear layers; None without float8.

    """

    recompute: float = 0.0
    compile: bool = False
    has_dropout: bool = False
    float8: Float8 | None = None


class Runners:
    """The variants of running blocks of one type; `run` computes one from its tensors and is compiled once."""

    def __init__(self, run: Run, execution: Execution, num_blocks: int) -> None:
        self._num_recomputed = round(execution.recompute * num_blocks)
        self._plain = _compiled(run, execution)
        self._again = _compiled(_recomputed(run, execution), execution)

    def of(self, index: int) -> Run:
        """Return the function that runs block `index` now."""
        return self._again if torch.is_grad_enabled() and index < self._num_recomputed else self._plain


def _recomputed(run: Run, execution: Execution) -> Run:
    """Return a `run` that keeps only its inputs and recomputes the rest in the backward pass."""

    def again(*args: Any) -> Tensor:
        out: Tensor = checkpoint(run, *args, use_reentrant=False, preserve_rng_state=execution.has_dropout)
        return out

    return again


def _compiled(run: Run, execution: Execution) -> Run:
    if not execution.compile:
        return run
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
    compiled: Run = torch.compile(run)
    return compiled


def bind(block: nn.Module, run: Callable[..., Tensor]) -> None:
    """Make `run(block, ...)` the forward of a block: existing hooks of the block, such as FSDP's, keep working."""
    block.forward = types.MethodType(run, block)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + half) of every head by the angle of the token's position; in float32 at least."""
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(heads.dtype)
