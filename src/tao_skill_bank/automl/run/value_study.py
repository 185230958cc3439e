"""The trials as an Optuna study in memory with the specs' own values, not the samplers' coordinates: for its plots."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tao_skill_bank.automl.plan.algorithms import studies
from tao_skill_bank.automl.plan.dimension import Dimension, is_number, is_same
from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.plan.storage import Entry
from tao_skill_bank.automl.run.trials import TrialJobs
from tao_skill_bank.core import nested


def values_of(trials: TrialJobs, entry: Entry) -> dict[str, Any]:
    """Return the searched parameters of a trial by spec path; those of the recipe's are the request's own."""
    spec = trials.plan.job.spec
    own = {each.name: nested.get(spec, each.name) for each in trials.study.space.dimensions}
    return {**own, **entry.values}


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return the last part of every path, or the whole of it where another one ends alike."""
    endings = Counter(path.rsplit(".", 1)[-1] for path in paths)
    return {path: last if endings[last := path.rsplit(".", 1)[-1]] == 1 else path for path in paths}


def build(trials: TrialJobs, entries: Sequence[Entry]) -> Any:
    """Return the study; its parameters have short names, its scores the metric's own direction."""
    optuna = studies.load()
    dimensions = trials.study.space.dimensions
    names = short_names([each.name for each in dimensions])
    values = [values_of(trials, entry) for entry in entries]
    distributions = {
        names[each.name]: found
        for each in dimensions
        if (found := _distribution(optuna, each, [own[each.name] for own in values])) is not None
    }
    with_cost = "cost" in trials.study.options.objectives
    directions = [trials.study.metric.direction, *(["minimize"] if with_cost else [])]
    study = optuna.create_study(directions=directions)
    study.set_metric_names([trials.study.metric.title, *([trials.hours] if with_cost else [])])
    for entry, own in zip(entries, values, strict=True):
        params = {names[path]: value for path, value in own.items() if path in names}
        study.add_trial(_frozen(optuna, trials, entry, params, distributions))
    return study


def _frozen(
    optuna: Any, trials: TrialJobs, entry: Entry, params: Mapping[str, Any], distributions: Mapping[str, Any]
) -> Any:
    """Return the trial with the parameters that have a place in their distribution."""
    states = optuna.trial.TrialState
    known = {TrialState.COMPLETE: states.COMPLETE, TrialState.PRUNED: states.PRUNED, TrialState.FAILED: states.FAIL}
    fitting = {
        name: value for name, value in params.items() if name in distributions and _fits(distributions, name, value)
    }
    score = trials.plain(entry.trial.score)
    values = None
    if entry.state is TrialState.COMPLETE:
        with_cost = "cost" in trials.study.options.objectives
        values = [score, *([entry.trial.gpu_hours] if with_cost else [])]
    return optuna.trial.create_trial(
        state=known.get(entry.state, states.RUNNING),
        values=values,
        params=fitting,
        distributions={name: distributions[name] for name in fitting},
        intermediate_values={epoch: trials.plain(at) for epoch, at in entry.trial.scores.items()},
    )


def _fits(distributions: Mapping[str, Any], name: str, value: Any) -> bool:
    """Return whether a value is of the kind that its parameter is searched in: the recipe's may be none at all."""
    return hasattr(distributions[name], "choices") or is_number(value)


def _distribution(optuna: Any, dimension: Dimension, seen: Sequence[Any]) -> Any:
    """Return the domain of a parameter's values, wide enough for all values that were tried; None without any."""
    known = optuna.distributions
    if dimension.kind == "choice":
        choices: list[Any] = list(dimension.choices)
        for value in seen:
            if not any(is_same(value, choice) for choice in choices):
                choices.append(value)
        return known.CategoricalDistribution(tuple(choices))
    numbers = [value for value in seen if is_number(value)]
    if dimension.kind in ("float", "int"):
        numbers += [dimension.low, dimension.high]
    elif dimension.kind == "power":
        numbers += [2 ** int(dimension.low), 2 ** int(dimension.high)]
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    log = (dimension.log or dimension.kind in ("power", "ratio")) and low > 0
    if all(isinstance(number, int) for number in numbers):
        return known.IntDistribution(low, high, log=log)
    return known.FloatDistribution(low, high, log=log)
