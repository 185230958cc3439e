"""The launch review of a search: what is searched, the first trials, and what it may cost at most."""

from collections.abc import Sequence
from typing import Any

from tao_skill_bank.automl.plan import algorithms, estimates, study
from tao_skill_bank.automl.plan.dimension import Dimension
from tao_skill_bank.automl.plan.study import Study
from tao_skill_bank.contracts import Plan
from tao_skill_bank.core import nested

Table = tuple[Sequence[str], Sequence[Sequence[object]]]


def tables(plan: Plan) -> list[Table]:
    """Return the review as tables: header and rows each."""
    sealed = study.of_plan(plan)
    dimensions = [
        (each.name, range_of(each), _shown(nested.get(plan.job.spec, each.name))) for each in sealed.space.dimensions
    ]
    names = [each.name.rsplit(".", 1)[-1] for each in sealed.space.dimensions]
    first = [
        (number, *(_shown(values.get(each.name)) for each in sealed.space.dimensions))
        for number, values in enumerate(sealed.first)
    ]
    return [
        (("search", ""), _summary(sealed, plan.job.resources.hours)),
        (("searched parameter", "range", "the request's own"), dimensions),
        (("first trials", *names), first),
    ]


def range_of(dimension: Dimension) -> str:
    """Return the range of a dimension's values, in words."""
    if dimension.kind == "choice":
        return " | ".join(_shown(choice) for choice in dimension.choices)
    if dimension.kind == "power":
        return f"{2 ** int(dimension.low)} to {2 ** int(dimension.high)}, powers of two"
    if dimension.kind == "share":
        return f"{_shown(dimension.minimum or 0)} to half of {dimension.of}"
    if dimension.kind == "ratio":
        low, high = (dimension.ratio * 2.0**step for step in (dimension.low, dimension.high))
        return f"{low:g} to {high:g} times {dimension.of}"
    return f"{_shown(dimension.low)} to {_shown(dimension.high)}{', logarithmic' if dimension.log else ''}"


def _summary(sealed: Study, hours: str) -> list[tuple[object, ...]]:
    chosen, estimate = sealed.options, sealed.estimate
    limits = [
        f"{chosen.max_trials} trials, {sealed.parallel} at once",
        f"{chosen.max_hours:g} hours" if chosen.max_hours else "",
        f"{chosen.max_gpu_hours:g} {hours}" if chosen.max_gpu_hours else "",
    ]
    rows: list[tuple[object, ...]] = [
        ("algorithm", f"{chosen.algorithm}: {algorithms.INFO[chosen.algorithm].meaning}"),
        ("metric", f"{sealed.metric.title}, {sealed.metric.direction}"),
        ("at most", ", ".join(limit for limit in limits if limit)),
    ]
    if sealed.rungs:
        rows.append(("pauses after", ", ".join(f"epoch {epoch}" for epoch in sealed.setup().rungs[:-1]) or "no epoch"))
    if estimate is not None:
        rows.append(("time", estimates.text(estimate, hours)))
    return [*rows, *(("note", note) for note in sealed.notes)]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
