"""Asynchronous copies of numbers from a GPU to the host, and the GPU's own clock."""

import time
from typing import Any

import torch
from torch import Tensor


class Mark:
    """A point in the work of a device: on a GPU when its stream reaches it, on a CPU now."""

    def __init__(self, device: torch.device) -> None:
        self._at = time.perf_counter()
        self._event: Any = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self._event.record()

    def wait(self) -> None:
        """Wait until the device has reached this point."""
        if self._event is not None:
            self._event.synchronize()

    def seconds_since(self, earlier: "Mark") -> float:
        """Return the device's time between two points that it has passed."""
        if self._event is not None:
            return float(earlier._event.elapsed_time(self._event)) / 1000
        return self._at - earlier._at


class Readback:
    """A copy of a small tensor that began when this was made; `mark` is its end."""

    def __init__(self, values: Tensor) -> None:
        self._host = torch.empty_like(values, device="cpu", pin_memory=values.is_cuda)
        self._host.copy_(values.detach(), non_blocking=True)
        self.mark = Mark(values.device)

    def values(self) -> list[float]:
        """Wait for the copy and return the numbers."""
        self.mark.wait()
        return [float(value) for value in self._host.tolist()]
