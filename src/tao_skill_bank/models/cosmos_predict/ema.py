"""An exponential moving average of the adapters: smoother than the last step, and often a little better."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Averages of the trained weights in float32, by name."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self.averages: dict[str, Tensor] = {name: weight.detach().clone() for name, weight in self._trained.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages towards the weights: average = decay average + (1 - decay) weight."""
        for name, weight in self._trained.items():
            self.averages[name].lerp_(weight, 1 - self.decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the weights by the averages, and restore them at the end."""
        weights = {name: weight.detach().clone() for name, weight in self._trained.items()}
        self._put(self.averages)
        try:
            yield
        finally:
            self._put(weights)

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, weight in self._trained.items():
            weight.copy_(values[name])
