"""An Optuna study rebuilt in memory from the trials, so that Optuna's samplers have no state between two decisions."""

from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

from tao_skill_bank.automl.plan.algorithms._setup import Dimension, Setup, Space
from tao_skill_bank.automl.plan.algorithms.points import REAL, Point, bounds, options
from tao_skill_bank.automl.plan.history import Coordinate, Trial, TrialState
from tao_skill_bank.errors import MissingExtraError

KEPT = "cma:"  # attributes that a sampler needs later; others are dropped


@cache
def load(extra: str = "automl") -> ModuleType:
    """Import Optuna, which comes with an extra."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingExtraError.for_module(error.name or "optuna", extra) from error
    module: ModuleType = optuna
    module.logging.set_verbosity(module.logging.ERROR)
    return module


def ask(setup: Setup, trials: Sequence[Trial], sampler: Any) -> tuple[Point, dict[str, Any]]:
    """Return the point that a sampler proposes after these trials, and what it stores with the trial.

    The study numbers its trials by their place in `trials`.
    """
    optuna = load()
    study = optuna.create_study(directions=["minimize"] * len(setup.objectives), sampler=sampler)
    distributions = {dimension.name: _distribution(dimension) for dimension in setup.space.dimensions}
    for trial in trials:
        study.add_trial(_frozen(setup, trial, distributions))
    asked = study.ask(distributions)
    kept = study.get_trials(deepcopy=False)[-1].system_attrs
    return _point(setup.space, asked.params), {name: kept[name] for name in kept if name.startswith(KEPT)}


def _distribution(dimension: Dimension) -> Any:
    distributions = load().distributions
    if dimension.kind == "choice":
        return distributions.CategoricalDistribution(tuple(range(len(options(dimension)))))
    low, high = bounds(dimension)
    if dimension.kind in REAL:
        return distributions.FloatDistribution(low, high, log=dimension.log)
    return distributions.IntDistribution(int(low), int(high), log=dimension.log)


def _frozen(setup: Setup, trial: Trial, distributions: Mapping[str, Any]) -> Any:
    """Return the trial in Optuna's form. One without a score, or that failed, carries no information: FAIL."""
    optuna = load()
    states = optuna.trial.TrialState
    point = params(setup.space, trial.coordinates)
    several = len(setup.objectives) > 1
    outcome: dict[str, Any] = {"state": states.FAIL}
    if point is None or trial.state is TrialState.FAILED:
        pass
    elif trial.state is TrialState.RUNNING:
        outcome = {"state": states.RUNNING}
    elif trial.state is TrialState.COMPLETE and trial.score is not None:
        outcome = {"state": states.COMPLETE, "values": [trial.score, trial.gpu_hours][: len(setup.objectives)]}
    elif trial.scores and not several:
        best = {epoch: trial.score_at(epoch) for epoch in trial.scores}
        outcome = {"state": states.PRUNED, "intermediate_values": best}
    return optuna.trial.create_trial(
        params=point or {},
        distributions=distributions if point is not None else {},
        system_attrs=dict(trial.sampler),
        **outcome,
    )


def params(space: Space, coordinates: Mapping[str, Coordinate]) -> dict[str, Any] | None:
    """Return a point as Optuna's parameters: numbers clipped to their ranges, choices by place.

    None where a coordinate is missing or is a choice that the space does not have.
    """
    found: dict[str, Any] = {}
    for dimension in space.dimensions:
        coordinate = coordinates.get(dimension.name)
        if coordinate is None:
            return None
        if dimension.kind == "choice":
            same = [
                place
                for place, (choice, _) in enumerate(options(dimension))
                if choice == coordinate and isinstance(choice, bool) == isinstance(coordinate, bool)
            ]
            if not same:
                return None
            found[dimension.name] = same[0]
        else:
            low, high = bounds(dimension)
            number = min(max(float(coordinate), low), high)
            found[dimension.name] = number if dimension.kind in REAL else int(number)
    return found


def _point(space: Space, params: Mapping[str, Any]) -> Point:
    return {
        dimension.name: (
            options(dimension)[params[dimension.name]][0] if dimension.kind == "choice" else params[dimension.name]
        )
        for dimension in space.dimensions
    }
