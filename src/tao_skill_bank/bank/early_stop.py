"""A training that ends early and keeps the schedule of all its epochs, so that it can be resumed.

A search pauses its trials so: the same folder, resumed with a later stop, continues as if it had never paused.
"""

from dataclasses import dataclass
from typing import Any

from tao_skill_bank.bank.parameters import parameter
from tao_skill_bank.bank.rules import Rule
from tao_skill_bank.errors import Problem


def field() -> Any:
    """Return the parameter that ends a training early, for a group that has the epochs and resume too."""
    return parameter(
        None,
        doc="Ends the training after this epoch; the schedule still spans all epochs, so that resuming "
        "continues exactly. None trains all epochs.",
        minimum=1,
        automl=False,
    )


def last_epoch(epochs: int, stop: int | None) -> int:
    """Return the epoch after which the training ends."""
    return epochs if stop is None else stop


@dataclass(frozen=True)
class EarlyStop:
    """What a model's train spec calls the epochs of the schedule, and the epoch that ends a training early."""

    epochs: str
    stop: str

    def limit(self, epochs: int, stop: int | None) -> tuple[str, int]:
        """Return the name and the value of the parameter that ends the training."""
        return (self.epochs, epochs) if stop is None or stop == epochs else (self.stop, stop)

    def closing_message(self, epochs: int, stop: int | None, steps: int) -> str:
        """Return what a training says at its end."""
        if self.limit(epochs, stop)[0] == self.stop:
            return f"Stopped after epoch {stop} of {epochs} as {self.stop} asks."
        return f"Trained {epochs} epochs, {steps} steps."

    def more_epochs_fix(self, done: int, epochs: int, stop: int | None) -> str:
        """Return how a training that has `done` epochs already gets more to do."""
        if done < epochs:
            return f"Set {self.stop} above {done}, or to null for all {epochs} epochs"
        also = "" if stop is None else f" and {self.stop} too, or to null"
        return f"Set {self.epochs} above {done}{also}"

    def more_epochs(self, done: int, epochs: int, stop: int | None) -> dict[str, Any]:
        """Return the overrides by which a training that has `done` epochs gets all epochs to do, else as many again."""
        all_of_them: dict[str, Any] = {} if stop is None else {self.stop: None}
        return all_of_them if done < epochs else {self.epochs: 2 * done, **all_of_them}

    @property
    def rule(self) -> Rule:
        """The rule that the stop is one of the epochs."""
        return Rule((self.stop, self.epochs), self._stop_is_one_of_the_epochs)

    def _stop_is_one_of_the_epochs(self, stop: int | None, epochs: int) -> Problem | None:
        if stop is None or stop <= epochs:
            return None
        return Problem(
            code="stop_after_the_end",
            message=f"{self.stop} {stop} comes after the last epoch, {self.epochs} {epochs}.",
            fix=f"Set {self.stop} to {epochs} or less, or to null for all epochs; {self.epochs} is the length of the "
            "schedule.",
            path=self.stop,
            got=stop,
            expected=f"<= {epochs}",
            fix_set={self.stop: epochs},
        )
