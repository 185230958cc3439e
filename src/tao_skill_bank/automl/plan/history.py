"""The trials of a search and the decisions of an algorithm. Plain values: no storage, no jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

Coordinate = float | int | str | bool


class TrialState(StrEnum):
    """States of a trial. A paused one waits at a rung with its checkpoint; the last three are final."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


@dataclass(frozen=True)
class Trial:
    """One training of the search.

    Attributes:
        number: counted from 0, the recipe's.
        coordinates: the point in the space's own coordinates, dimension name to coordinate.
        scores: score after as many epochs, lower is better whatever the metric's direction; finite numbers only.
        until: the epoch that it was last asked to reach; None for all epochs of its own spec.
        origin: who proposed it: `recipe`, the sampler's name, `llm`, ...
        parent: the trial from whose checkpoint it resumed, in population based training.
        gpu_hours: that it took so far.
        sampler: what the sampler stores with the trial, by its own names.
        diagnosis: why a failed trial failed, in a sentence without paths, as a language model may receive it.

    """

    number: int
    coordinates: Mapping[str, Coordinate]
    state: TrialState
    scores: Mapping[int, float] = field(default_factory=dict)
    until: int | None = None
    origin: str = ""
    parent: int | None = None
    gpu_hours: float = 0.0
    sampler: Mapping[str, Any] = field(default_factory=dict)
    diagnosis: str = ""

    @property
    def score(self) -> float | None:
        """The best score so far: the best checkpoint is the result of a training."""
        return min(self.scores.values(), default=None)

    def score_at(self, epoch: int) -> float | None:
        """Return the best score up to an epoch, None where it has not been reached."""
        if max(self.scores, default=0) < epoch:
            return None
        return min((score for at, score in self.scores.items() if at <= epoch), default=None)


@dataclass(frozen=True)
class Start:
    """Begin a new trial at a point, and pause it after epoch `until` (None: it runs to its end)."""

    coordinates: Mapping[str, Coordinate]
    origin: str
    until: int | None = None
    parent: int | None = None
    sampler: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Promote:
    """Resume a paused trial up to epoch `until`."""

    number: int
    until: int


@dataclass(frozen=True)
class Wait:
    """Nothing to begin until a running trial reports."""


@dataclass(frozen=True)
class Done:
    """Nothing is left to begin, however the running trials end."""

    reason: str


Decision = Start | Promote | Wait | Done


class Algorithm(Protocol):
    """Decides what to begin next. A function of the trials alone: the same trials give the same decision.

    So a search that was killed resumes with the same decisions, and a benchmark needs no training.
    """

    def decide(self, trials: Sequence[Trial]) -> Decision:
        """Return what to begin now, with `trials` in order of their numbers; trial 0 exists already.

        Raises:
            BlockedError: a model or endpoint that the algorithm depends on failed, and the request names no fallback.

        """
        ...
