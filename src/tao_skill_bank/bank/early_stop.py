"""`train.stop_epoch`: a training that ends early and keeps the schedule of all its epochs, so that it can go on.

A search pauses its trials with it: the same folder with train.resume and a later stop goes on as if nothing had been.
"""

from typing import Any

from tao_skill_bank.bank.parameters import parameter
from tao_skill_bank.bank.rules import Rule
from tao_skill_bank.errors import Problem

PATH = "train.stop_epoch"


def field() -> Any:
    """Return the parameter, for the train group of a spec that has `epoch` and `resume` too."""
    return parameter(
        None,
        doc="Ends the training after this epoch as after the last one; the schedule stays that of all epochs, so that "
        "resume goes on exactly. None for no early end.",
        minimum=1,
        automl=False,
    )


def last_epoch(epochs: int, stop: int | None) -> int:
    """Return the epoch that the training ends after."""
    return epochs if stop is None else stop


def limit(epochs: int, stop: int | None) -> tuple[str, int]:
    """Return the name and the value of the parameter that ends the training."""
    return ("train.epoch", epochs) if stop is None or stop == epochs else (PATH, stop)


def closing_message(epochs: int, stop: int | None, steps: int) -> str:
    """Return what a training says at its end."""
    if limit(epochs, stop)[0] == PATH:
        return f"Stopped after epoch {stop} of {epochs} as {PATH} asks."
    return f"Trained {epochs} epochs, {steps} steps."


def more_epochs_fix(done: int, epochs: int, stop: int | None) -> str:
    """Return how a training that has `done` epochs already gets more to do."""
    if done < epochs:
        return f"Set {PATH} above {done}, or to null for all {epochs} epochs"
    also = "" if stop is None else f" and {PATH} too, or to null"
    return f"Set train.epoch above {done}{also}"


def _stop_is_one_of_the_epochs(stop: int | None, epochs: int) -> Problem | None:
    if stop is None or stop <= epochs:
        return None
    return Problem(
        code="stop_after_the_end",
        message=f"{PATH} {stop} comes after the last epoch, train.epoch {epochs}.",
        fix=f"Set {PATH} to {epochs} or less, or to null for all epochs; train.epoch is the length of the schedule.",
        path=PATH,
        got=stop,
        expected=f"<= {epochs}",
    )


RULE = Rule((PATH, "train.epoch"), _stop_is_one_of_the_epochs)
