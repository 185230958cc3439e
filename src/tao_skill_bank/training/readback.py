"""Numbers on their way from a GPU to the host, which may go on meanwhile."""

from typing import Any

import torch
from torch import Tensor


class Readback:
    """A copy of a small tensor that began when this was made."""

    def __init__(self, values: Tensor) -> None:
        self._host = torch.empty_like(values, device="cpu", pin_memory=values.is_cuda)
        self._host.copy_(values.detach(), non_blocking=True)
        self._done: Any = torch.cuda.Event() if values.is_cuda else None  # type: ignore[no-untyped-call]
        if self._done:
            self._done.record()

    def values(self) -> list[float]:
        """Wait for the copy and return the numbers."""
        if self._done:
            self._done.synchronize()
        return [float(value) for value in self._host.tolist()]
