"""A DEFT run as its log tells it: the rounds, the best so far, and the figures on the test set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tao_skill_bank.core import numbers
from tao_skill_bank.workflows.log import Event
from tao_skill_bank.workflows.standing import Standing


@dataclass(frozen=True)
class Round:
    """The steps of one round that ended well, by name."""

    number: int
    steps: Mapping[str, Event]

    def output(self, step: str, name: str) -> Any:
        """Return an output of a step; None where the step did not run or gave none."""
        event = self.steps.get(step)
        return event.outputs.get(name) if event else None


@dataclass(frozen=True)
class Loop:
    """The run.

    Attributes:
        rounds: those that decided something, in order.
        reason: why the loop ended; empty while it has not.
        answer: the training whose checkpoint is the answer; None for the model that the loop began with.
        test_gain: outputs of the comparison on the test set; empty without one.

    """

    rounds: tuple[Round, ...] = ()
    reason: str = ""
    answer: str | None = None
    best_score: float | None = None
    baseline: Event | None = None
    test_before: Event | None = None
    test_after: Event | None = None
    test_gain: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Standing) -> "Loop":
        """Return the loop of a run."""
        done = {(event.step, event.iteration): event for event in found.steps if event.status == "ok"}
        by_round: dict[int, dict[str, Event]] = {}
        for (step, iteration), event in done.items():
            if iteration:
                by_round.setdefault(iteration, {})[step] = event
        decided = [Round(number, steps) for number, steps in sorted(by_round.items()) if "decision" in steps]
        last = decided[-1] if decided else None
        loop, gain = done.get(("rounds", 0)), done.get(("gain on test", 0))
        return cls(
            tuple(decided),
            str(loop.outputs.get("stopped_by", "")) if loop else "",
            last.output("decision", "training") if last else None,
            numbers.finite(last.output("decision", "score")) if last else None,
            done.get(("baseline", 0)),
            done.get(("base on test", 0)),
            done.get(("tuned on test", 0)),
            gain.outputs if gain else {},
        )

    @property
    def best_training(self) -> Event | None:
        """The training of the answer."""
        return self._of_answer("training")

    @property
    def best_evaluation(self) -> Event | None:
        """Its evaluation on the KPI set."""
        return self._of_answer("tuned")

    def accuracy(self, event: Event | None) -> float | None:
        """Return the accuracy that an evaluation found."""
        metrics = event.outputs.get("metrics") if event else None
        return numbers.finite(metrics.get("accuracy")) if isinstance(metrics, Mapping) else None

    def _of_answer(self, step: str) -> Event | None:
        trained = [each for each in self.rounds if self.answer and each.output("training", "job") == self.answer]
        return trained[-1].steps.get(step) if trained else None
