"""Stops a training whose loss has diverged."""

import math
from collections import deque

from tao_skill_bank.errors import JobFailedError

WINDOW = 20  # steps that are averaged: one hard batch is not a divergence
MARGIN = 1.5


class Divergence:
    """Compares the mean loss of the last steps with guessing: ln(vocabulary), or the loss of the first steps if larger.

    A model whose loss exceeds that of a uniform guess by half will not recover. `fix` says which settings of the model
    to change then.
    """

    def __init__(self, vocabulary: int, fix: str) -> None:
        self._fix = fix
        self._limit = math.log(vocabulary)
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._is_measured = False

    def watch(self, loss: float, step: int) -> None:
        """Take the loss of a step. Raises JobFailedError when the training has diverged."""
        self._recent.append(loss)
        if len(self._recent) < WINDOW:
            return
        mean = sum(self._recent) / WINDOW
        if not self._is_measured:
            self._limit, self._is_measured = MARGIN * max(self._limit, mean), True
        if mean > self._limit:
            message = f"The mean loss of the last {WINDOW} steps is {mean:.2f} at step {step}, worse than guessing."
            raise JobFailedError.of("loss_diverged", message, self._fix)
