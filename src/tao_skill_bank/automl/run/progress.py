"""How far a search is: every trial, the best so far, and the remaining time."""

import statistics
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.plan.storage import Entry
from tao_skill_bank.automl.run.best import best_of, score_of
from tao_skill_bank.automl.run.trials import TrialJobs
from tao_skill_bank.contracts import contract

SHOWN_WORDS = 90  # characters of a diagnosis in a table


@contract
class TrialRow:
    """One trial as people and agents read it; `score` and `scores` are in the metric's own direction."""

    number: int
    state: TrialState
    origin: str
    values: dict[str, Any]
    score: float | None
    scores: dict[int, float]
    until: int | None
    seconds: float
    gpu_hours: float
    adjusted: str = ""
    diagnosis: str = ""
    jobs: tuple[str, ...] = ()


@contract
class Progress:
    """A search now. `eta_seconds` is None until a trial has ended; `hours` names what `gpu_hours` counts."""

    metric: str
    direction: str
    max_trials: int
    ended: int
    best_trial: int | None
    best_score: float | None
    recipe_score: float | None
    gpu_hours: float
    eta_seconds: float | None
    trials: tuple[TrialRow, ...] = field(default_factory=tuple)
    hours: str = "GPU hours"

    @property
    def summary(self) -> str:
        """One line for people."""
        best = (
            f"best {self.metric} {self.best_score:.4g} (trial {self.best_trial})" if self.best_score is not None else ""
        )
        eta = f"about {self.eta_seconds / 60:.0f} min left" if self.eta_seconds else ""
        parts = (f"{self.ended} of {self.max_trials} trials ended", best, f"{self.gpu_hours:.3g} {self.hours}", eta)
        return "; ".join(part for part in parts if part)


def of(trials: TrialJobs) -> Progress:
    """Return how far a search is."""
    entries = trials.storage.entries()
    best = best_of(entries)
    rows = tuple(_row(trials, entry) for entry in entries)
    return Progress(
        metric=trials.study.metric.title,
        direction=trials.study.metric.direction,
        max_trials=trials.study.options.max_trials,
        ended=sum(entry.state.is_final for entry in entries),
        best_trial=best.number if best else None,
        best_score=trials.plain(best.trial.score) if best else None,
        recipe_score=trials.plain(score_of(entries[0])) if entries else None,
        gpu_hours=sum(row.gpu_hours for row in rows),
        eta_seconds=eta_seconds(trials, entries),
        trials=rows,
        hours=trials.hours,
    )


def eta_seconds(trials: TrialJobs, entries: Sequence[Entry]) -> float | None:
    """Return the remaining time: trials to come times the mean time of an ended one, over the trials at once."""
    ended = [entry.seconds for entry in entries if entry.state.is_final and entry.seconds]
    left = trials.study.options.max_trials - sum(entry.state.is_final for entry in entries)
    return statistics.mean(ended) * max(left, 0) / trials.study.parallel if ended else None


def rows(progress: Progress) -> list[tuple[object, ...]]:
    """Return the trials as rows of a table, the best one marked."""
    shown: list[tuple[object, ...]] = []
    for row in progress.trials:
        score = "" if row.score is None else f"{row.score:.4g}"
        mark = " *" if row.number == progress.best_trial else ""
        reached = max(row.scores, default=0)
        values = ", ".join(f"{name.rsplit('.', 1)[-1]}={_short(value)}" for name, value in row.values.items())
        note = row.diagnosis[:SHOWN_WORDS] or values or "as requested"
        shown.append((f"{row.number}{mark}", row.state, reached, score, round(row.seconds), row.origin, note))
    return shown


def _row(trials: TrialJobs, entry: Entry) -> TrialRow:
    seconds, gpu_hours = entry.seconds, entry.trial.gpu_hours
    if not entry.state.is_final:
        seconds, gpu_hours = trials.spent(entry)
    return TrialRow(
        number=entry.number,
        state=entry.state,
        origin=entry.trial.origin,
        values=dict(entry.values),
        score=trials.plain(score_of(entry)),
        scores={epoch: trials.plain(score) or 0.0 for epoch, score in entry.trial.scores.items()},
        until=entry.trial.until,
        seconds=round(seconds, 1),
        gpu_hours=gpu_hours,
        adjusted=entry.adjusted,
        diagnosis=entry.diagnosis,
        jobs=tuple(job.id for job in entry.jobs),
    )


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
