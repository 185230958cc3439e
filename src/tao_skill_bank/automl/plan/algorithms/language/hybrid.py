"""`hybrid`: a language model plans phases, and other samplers propose within them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.algorithms import points
from tao_skill_bank.automl.plan.algorithms._setup import Setup
from tao_skill_bank.automl.plan.algorithms.language import prompt, replies
from tao_skill_bank.automl.plan.algorithms.language.model import LanguageModel
from tao_skill_bank.automl.plan.algorithms.language.replies import ReplyError
from tao_skill_bank.automl.plan.dimension import Dimension, is_same
from tao_skill_bank.automl.plan.history import Coordinate, Decision, Done, Start, Trial, TrialState, Wait
from tao_skill_bank.automl.plan.options import LANGUAGE_NAMES
from tao_skill_bank.automl.plan.space import Space
from tao_skill_bank.bank.catalog import did_you_mean

FIELDS = {"sampler": str, "ranges": dict, "trials": int, "rationale": str}
RATIONALE_CHARACTERS = 1000


@dataclass(frozen=True)
class Phase:
    """A phase as the model planned it; every trial of the phase stores it, so that a killed search can restore it.

    Attributes:
        start: number of its first trial, which identifies the phase.
        sampler: the algorithm that proposes.
        ranges: spec values that it proposes within, by parameter; others are free.
        trials: how many it has.
        rationale: why.

    """

    start: int
    sampler: str
    ranges: Mapping[str, Any]
    trials: int
    rationale: str


@dataclass(frozen=True)
class Phases:
    """The next phase is planned when all trials of the last one have ended."""

    setup: Setup
    model: LanguageModel

    def decide(self, trials: Sequence[Trial]) -> Decision:
        phase = current(trials)
        if phase is not None:
            own = [trial for trial in trials if _phase_of(trial) == phase]
            decision = Done("") if len(own) >= phase.trials else self._within(phase, trials)
            if not isinstance(decision, Done):
                return _with_phase(decision, phase, {})
            if any(trial.state is TrialState.RUNNING for trial in own):
                return Wait()

        def read(text: str) -> Phase:
            return self._read(text, trials)

        samplers = "\n".join(f"- {name}: {algorithms.INFO[name].meaning}" for name in phase_samplers())
        question = prompt.question("hybrid", self.setup, trials, samplers=samplers, phases=_phases(trials))
        planned, keeps = self.model.ask(question, read)
        planned = replace(planned, rationale=self.model.shown(planned.rationale, RATIONALE_CHARACTERS))
        return _with_phase(self._within(planned, trials), planned, keeps)

    def _within(self, phase: Phase, trials: Sequence[Trial]) -> Decision:
        """Let the phase's sampler propose from the trials that lie in the phase's part of the space."""
        part = replies.narrowed(phase.ranges, prompt.whole(self.setup))
        inside = [trial for trial in trials if _lies_in(part, trial)]
        known = sum(trial.number < phase.start for trial in inside)
        setup = replace(
            self.setup, space=part, seed=self.setup.seed + phase.start, max_trials=known + phase.trials, options={}
        )
        return algorithms.build(phase.sampler, setup).decide(inside)

    def _read(self, text: str, trials: Sequence[Trial]) -> Phase:
        """Return the phase of a reply. Raises ReplyError."""
        said = replies.document(text, FIELDS)
        complaints = []
        names = phase_samplers()
        if said["sampler"] not in names:
            hint = did_you_mean(said["sampler"], names)
            complaints.append(f"There is no sampler '{said['sampler'][:100]}'.{hint} Use one of: {', '.join(names)}.")
        part = replies.narrowed(said["ranges"], prompt.whole(self.setup))
        untried = points.size(part) - len(
            {points.key(part, trial.coordinates) for trial in trials if _lies_in(part, trial)}
        )
        most = min(self.setup.max_trials - len(trials), untried)
        if not 1 <= said["trials"] <= most:
            reason = "points of these ranges that have not been tried" if most == untried else "remaining trials"
            complaints.append(f"'trials' is {said['trials']}; it must be from 1 to {most}, the {reason}.")
        if complaints:
            raise ReplyError(*complaints)
        return Phase(len(trials), said["sampler"], said["ranges"], said["trials"], said["rationale"])


def phase_samplers() -> tuple[str, ...]:
    """Return the algorithms that propose one point at a time, for trials that train to their end."""
    return tuple(
        name
        for name, about in algorithms.INFO.items()
        if not (about.needs_rungs or about.refused or name in LANGUAGE_NAMES or name == "grid")
        and about.extra in (None, "automl")
    )


def current(trials: Sequence[Trial]) -> Phase | None:
    """Return the phase that was planned last, None before the first one."""
    return next((phase for trial in reversed(trials) if (phase := _phase_of(trial))), None)


def _phase_of(trial: Trial) -> Phase | None:
    planned = trial.sampler.get("phase")
    return Phase(**planned) if planned else None


def _with_phase(decision: Decision, phase: Phase, keeps: Mapping[str, Any]) -> Decision:
    if not isinstance(decision, Start):
        return decision
    kept = {**decision.sampler, **keeps, "phase": {**vars(phase)}}
    return replace(decision, origin=f"hybrid, {decision.origin}", sampler=kept)


def _phases(trials: Sequence[Trial]) -> str:
    """Return the phases so far, one a line, with the best score of each."""
    lines: dict[int, str] = {}
    for trial in trials:
        if phase := _phase_of(trial):
            scores = [other.score for other in trials if _phase_of(other) == phase and other.score is not None]
            best = f"best score {min(scores):.6g}" if scores else "no score"
            lines[phase.start] = f"- from trial {phase.start}: {phase.trials} x {phase.sampler}, {phase.ranges}; {best}"
    return "\n".join(lines.values()) or "- none yet"


def _lies_in(part: Space, trial: Trial) -> bool:
    return all(_has(dimension, trial.coordinates[dimension.name]) for dimension in part.dimensions)


def _has(dimension: Dimension, coordinate: Coordinate) -> bool:
    if dimension.kind == "choice":
        return any(is_same(coordinate, choice) for choice, _ in points.options(dimension))
    return dimension.low <= float(coordinate) <= dimension.high
