"""A training whose length is a number of optimizer steps: it ends after them, within an epoch too.

Its schedule spans those steps, and its last step is validated and saved like the end of an epoch. The number of epochs
then follows from the steps and does not count. An epoch to stop after, which keeps the schedule of all epochs, excludes
it (early_stop).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.bank import early_stop
from tao_skill_bank.bank.parameters import parameter
from tao_skill_bank.bank.rules import Rule
from tao_skill_bank.bank.training_facts import TrainingFacts
from tao_skill_bank.errors import Problem

DIGITS = 4  # of a warm-up in epochs


def field() -> Any:
    """Return the parameter that sets the optimizer steps of a training."""
    return parameter(
        None,
        doc="Ends the training after this many optimizer steps, validated and saved, with a schedule of this length; "
        "the number of epochs then does not count. None trains by epochs.",
        minimum=1,
        automl=False,
    )


@dataclass(frozen=True)
class EpochEnd:
    """Where an epoch of a training ends: after all its steps, or with the training.

    Attributes:
        epoch: counted from 1.
        num_steps: those that it has.
        is_whole: whether they are all steps of an epoch.
        is_last: whether the training ends with it.
        name: of what is saved at its end.

    """

    epoch: int
    num_steps: int
    is_whole: bool
    is_last: bool
    name: str

    @property
    def epochs_done(self) -> int:
        """Whole epochs at its end: resuming continues within one that is not whole."""
        return self.epoch if self.is_whole else self.epoch - 1

    def is_due(self, frequency: int) -> bool:
        """Whether something is due that is done every few epochs and at the end."""
        return self.is_last or self.epoch % frequency == 0


@dataclass(frozen=True)
class Length:
    """How long a training is: the values of its spec. `max_steps` wins over `epochs`; `stop` is None with it."""

    epochs: int
    stop: int | None = None
    max_steps: int | None = None

    def last_epoch(self, steps_per_epoch: int) -> int:
        """Return the epoch of the last step."""
        if self.max_steps is not None:
            return math.ceil(self.max_steps / steps_per_epoch)
        return early_stop.last_epoch(self.epochs, self.stop)

    def last_step(self, steps_per_epoch: int) -> int:
        """Return the number of steps after which the training ends."""
        return self.last_epoch(steps_per_epoch) * steps_per_epoch if self.max_steps is None else self.max_steps

    def ends(self, epochs_done: int, steps_per_epoch: int) -> Iterator[EpochEnd]:
        """Yield the epochs that are left, with where they end."""
        last_epoch, last_step = self.last_epoch(steps_per_epoch), self.last_step(steps_per_epoch)
        for epoch in range(epochs_done + 1, last_epoch + 1):
            step = min(epoch * steps_per_epoch, last_step)
            num_steps = step - (epoch - 1) * steps_per_epoch
            is_whole = num_steps == steps_per_epoch
            name = f"epoch_{epoch}" if is_whole else f"step_{step}"
            yield EpochEnd(epoch, num_steps, is_whole, epoch == last_epoch, name)

    def scheduled_steps(self, steps_per_epoch: int) -> int:
        """Return the steps that the schedule spans."""
        return self.epochs * steps_per_epoch if self.max_steps is None else self.max_steps

    def scheduled_epochs(self, steps_per_epoch: int) -> int:
        """Return the epochs, whole or not, that the schedule spans."""
        return math.ceil(self.scheduled_steps(steps_per_epoch) / steps_per_epoch)


def closing_message(facts: TrainingFacts, length: Length, steps: int, steps_per_epoch: int) -> str:
    """Return what a training says at its end."""
    if length.max_steps is None:
        return facts.early_stop.closing_message(length.epochs, length.stop, steps)
    return f"Trained {steps} steps as {facts.max_steps} asks, {steps / steps_per_epoch:.3g} epochs."


def rule(path: str, stop_path: str) -> Rule:
    """Return the rule that steps are not given together with an epoch to stop after."""

    def check(max_steps: int | None, stop: int | None) -> Problem | None:
        if max_steps is None or stop is None:
            return None
        message = (
            f"{path} {max_steps} and {stop_path} {stop} both end the training, with schedules of different lengths."
        )
        fix = (
            f"Keep {path} for a schedule of that many steps, or {stop_path} to continue later with that of all epochs."
        )
        choices = ({stop_path: None}, {path: None})
        return Problem("two_ends", message, fix, stop_path, stop, fix_choices=choices)

    return Rule((path, stop_path), check)


def warm_up_problem(path: str, max_steps: int, warm_up: tuple[str, float], steps_per_epoch: int) -> Problem | None:
    """Return the problem of a warm-up in epochs that is longer than all steps; None where there is none.

    Args:
        path: of the steps.
        max_steps: their number.
        warm_up: path and epochs of the warm-up.
        steps_per_epoch: optimizer steps of a whole epoch.

    """
    key, epochs = warm_up
    length = round(epochs * steps_per_epoch)
    if length <= max_steps:
        return None
    tenth = max_steps // 10
    value = math.floor(tenth / steps_per_epoch * 10**DIGITS) / 10**DIGITS if tenth else 0.0
    message = (
        f"{key} {epochs:g} is a warm-up of {length} steps, as an epoch has {steps_per_epoch}, and {path} ends the "
        f"training after {max_steps}."
    )
    fix = f"Set {key}={value:g}, about a tenth of the {max_steps} steps, or raise {path} to {length} or more."
    return Problem("warm_up_after_the_end", message, fix, key, epochs, fix_set={key: value})
