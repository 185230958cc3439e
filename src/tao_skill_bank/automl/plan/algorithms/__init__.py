"""The algorithms by name: what each one is, what it needs, and which are refused and why."""

import difflib
import importlib
from collections.abc import Callable
from typing import NamedTuple

from tao_skill_bank.automl.plan.algorithms import studies
from tao_skill_bank.automl.plan.algorithms._setup import Dimension, Setup, Space
from tao_skill_bank.automl.plan.algorithms.full import FullTrainings, Grid
from tao_skill_bank.automl.plan.algorithms.gaussian import GaussianSampler
from tao_skill_bank.automl.plan.algorithms.population import PopulationBasedTraining
from tao_skill_bank.automl.plan.algorithms.rungs import Asha, BohbSampler, EarlyStop, Hyperband
from tao_skill_bank.automl.plan.algorithms.samplers import CmaesSampler, RandomSampler, TpeSampler
from tao_skill_bank.automl.plan.history import Algorithm
from tao_skill_bank.errors import RequestError, UnknownNameError

__all__ = ["DEFAULT", "INFO", "Dimension", "Info", "Setup", "Space", "build", "recipe_until"]

DEFAULT = "bayesian"


class Info(NamedTuple):
    """What a user needs to know of an algorithm before choosing it.

    Attributes:
        meaning: one line.
        needs_rungs: trials pause at epochs and resume, so the skill has to be able to stop and resume a training.
        extra: the optional dependencies that it needs.
        several_objectives: it can weigh the metric against the cost.
        refused: why it is not offered; empty where it is.

    """

    meaning: str
    needs_rungs: bool = False
    extra: str | None = None
    several_objectives: bool = False
    refused: str = ""


INFO: dict[str, Info] = {
    "bayesian": Info("Multivariate tree-structured Parzen estimator (the default).", False, "automl", True),
    "tpe": Info("Tree-structured Parzen estimator, every parameter independently.", False, "automl", True),
    "bfbo": Info(
        "Gaussian process with batched expected improvement, in a process of its own.", False, "automl-gp", True
    ),
    "random": Info("Random points, choices by their weights.", several_objectives=True),
    "grid": Info("The points of a grid.", several_objectives=True),
    "cmaes": Info("Covariance matrix adaptation for the numbers, choices at random.", False, "automl"),
    "asha": Info("Asynchronous successive halving of random points.", True),
    "hyperband": Info("Hyperband: successive halving from every rung in turn.", True),
    "hyperband_es": Info("Hyperband whose long trials stop early too: in the worse half, or without a gain.", True),
    "bohb": Info("Parzen estimator inside Hyperband.", True, "automl"),
    "pbt": Info("Population based training: the worst continue from the checkpoints of the best.", True),
    "dehb": Info(
        "Differential evolution inside Hyperband.",
        True,
        refused="the package DEHB 0.1.2 requires numpy < 2.0 and keeps its population outside of the trials",
    ),
    "llm": Info("A language model proposes every point."),
    "hybrid": Info("A language model plans phases over the other samplers."),
    "autoresearch": Info("A language model proposes, screens, verifies, and keeps or discards."),
}


def _hyperband_es(setup: Setup) -> Algorithm:
    options = setup.options
    early_stop = EarlyStop(**{name: float(options[name]) for name in ("keep", "min_gain") if name in options})
    return Hyperband(setup, RandomSampler(), early_stop)


def _language(name: str) -> Callable[[Setup], Algorithm]:
    def build_language(setup: Setup) -> Algorithm:
        language = importlib.import_module("tao_skill_bank.automl.plan.algorithms.language")
        algorithm: Algorithm = language.build(name, setup)
        return algorithm

    return build_language


_BUILDERS: dict[str, Callable[[Setup], Algorithm]] = {
    "bayesian": lambda setup: FullTrainings(setup, TpeSampler("bayesian", multivariate=True)),
    "tpe": lambda setup: FullTrainings(setup, TpeSampler("tpe", multivariate=False)),
    "bfbo": lambda setup: FullTrainings(setup, GaussianSampler()),
    "random": lambda setup: FullTrainings(setup, RandomSampler()),
    "grid": Grid,
    "cmaes": lambda setup: FullTrainings(setup, CmaesSampler()),
    "asha": lambda setup: Asha(setup, RandomSampler()),
    "hyperband": lambda setup: Hyperband(setup, RandomSampler()),
    "hyperband_es": _hyperband_es,
    "bohb": lambda setup: Hyperband(setup, BohbSampler()),
    "pbt": PopulationBasedTraining,
    "llm": _language("llm"),
    "hybrid": _language("hybrid"),
    "autoresearch": _language("autoresearch"),
}


def build(name: str, setup: Setup) -> Algorithm:
    """Return an algorithm.

    Raises:
        UnknownNameError: there is none of that name.
        RequestError: it is refused, or it cannot weigh several objectives.
        MissingExtraError: its library is not installed.

    """
    info = INFO.get(name)
    available = [known for known, about in INFO.items() if not about.refused]
    if info is None:
        close = difflib.get_close_matches(name, available, n=1, cutoff=0.5)
        raise UnknownNameError.of(
            "unknown_algorithm",
            f"There is no search algorithm '{name}'.",
            f"Did you mean '{close[0]}'?" if close else f"Choose one of {', '.join(available)}.",
            got=name,
            expected=available,
        )
    if info.refused:
        raise RequestError.of(
            "algorithm_refused",
            f"The search algorithm '{name}' is not offered: {info.refused}.",
            f"Choose one of {', '.join(available)}.",
            got=name,
            expected=available,
        )
    if len(setup.objectives) > 1 and not info.several_objectives:
        able = [known for known, about in INFO.items() if about.several_objectives and not about.refused]
        raise RequestError.of(
            "one_objective_only",
            f"The search algorithm '{name}' cannot weigh {' against '.join(setup.objectives)}.",
            f"Choose one of {', '.join(able)}, or ask for the metric alone.",
            got=name,
            expected=able,
        )
    if info.extra is not None:
        studies.load(info.extra)
    return _BUILDERS[name](setup)


def recipe_until(name: str, setup: Setup) -> int | None:
    """Return the epoch at which trial 0, the recipe, pauses first; None where it trains to its end."""
    until: int | None = getattr(build(name, setup), "recipe_until", None)
    return until
