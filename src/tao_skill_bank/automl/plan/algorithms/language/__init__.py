"""Searches that ask a language model: `llm` for every point, `hybrid` for phases, `autoresearch` for experiments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.algorithms import full, points, studies
from tao_skill_bank.automl.plan.algorithms._setup import Setup
from tao_skill_bank.automl.plan.algorithms.language.hybrid import Phases, phase_samplers
from tao_skill_bank.automl.plan.algorithms.language.model import LanguageModel, LanguageModelError, tokens
from tao_skill_bank.automl.plan.algorithms.language.proposals import Experiments, Proposals
from tao_skill_bank.automl.plan.algorithms.language.screening import Verdict, noise, verdicts
from tao_skill_bank.automl.plan.history import Algorithm, Decision, Done, Start, Trial, Wait
from tao_skill_bank.errors import RequestError

__all__ = ["LanguageModelError", "Verdict", "build", "noise", "tokens", "verdicts"]


class Strategy(Protocol):
    """How a language model is asked for a decision."""

    def decide(self, trials: Sequence[Trial]) -> Decision:
        """Return what to begin; the caller has checked that a trial may begin and that an untried point is left."""
        ...


STRATEGIES: Mapping[str, Callable[[Setup, LanguageModel], Strategy]] = {
    "llm": Proposals,
    "hybrid": Phases,
    "autoresearch": Experiments,
}


@dataclass(frozen=True)
class LanguageSearch:
    """Asks once per new trial; when that fails, the sampler that the request names as fallback proposes, if any."""

    setup: Setup
    strategy: Strategy
    fallback: str | None = None

    def decide(self, trials: Sequence[Trial]) -> Decision:
        if len(trials) >= self.setup.max_trials:
            return Done(full.SPENT)
        if points.size(self.setup.space) <= len(points.tried(self.setup.space, trials)):
            return Done(full.EXHAUSTED)
        if full.is_full(self.setup, trials):
            return Wait()
        try:
            return self.strategy.decide(trials)
        except LanguageModelError as error:
            if self.fallback is None:
                raise
            return self._without_the_model(trials, error)

    def _without_the_model(self, trials: Sequence[Trial], error: LanguageModelError) -> Decision:
        assert self.fallback is not None
        decision = algorithms.build(self.fallback, self.setup).decide(trials)
        if not isinstance(decision, Start):
            return decision
        origin = f"{decision.origin}, because the endpoint failed: {error}"
        return Start(decision.coordinates, origin, sampler={**decision.sampler, **error.keeps})


def build(name: str, setup: Setup) -> Algorithm:
    """Return `llm`, `hybrid` or `autoresearch`; nothing is asked yet.

    Of `setup.options` they read: endpoint (`options.Endpoint`, or a mapping of its fields), fallback, metric
    (name and direction), descriptions (what the schema says of a parameter, by name), max_gpu_hours and noise.

    Raises:
        RequestError: there is no endpoint, its URL or key cannot be used, or the fallback does not sample points.
        BlockedError: the variable that should hold the key is empty (exit 4).
        MissingExtraError: the `openai` library is not installed.

    """
    fallback: Any = setup.options.get("fallback")
    if fallback is not None and fallback not in phase_samplers():
        raise RequestError.of(
            "useless_fallback",
            f"automl.fallback '{fallback}' cannot replace a language model, whose trials all train to their end.",
            f"Use one of: {', '.join(phase_samplers())}.",
            path="automl.fallback",
            got=fallback,
        )
    if name == "hybrid":
        studies.load()  # its phases need it, and the first one may be hours away
    return LanguageSearch(setup, STRATEGIES[name](setup, LanguageModel.open(setup.options)), fallback)
