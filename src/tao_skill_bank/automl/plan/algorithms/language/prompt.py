"""The questions to a language model: texts of `prompts/`, filled with the space, the trials and the metric.

They contain no path, no data, no host and no credential.
"""

import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

from tao_skill_bank.automl.plan.algorithms import points
from tao_skill_bank.automl.plan.algorithms._setup import Setup
from tao_skill_bank.automl.plan.dimension import Dimension
from tao_skill_bank.automl.plan.history import Trial
from tao_skill_bank.automl.plan.space import Space
from tao_skill_bank.core.redact import redacted

MAX_BEST, MAX_NEWEST = 60, 40  # trials that are shown of a long search
PATH = re.compile(r"(?<![\w.])(?:~|[A-Za-z]:)?(?:[/\\][\w.@+~-]+){2,}")
MAX_CHARACTERS = 300  # of a description or a diagnosis
TYPES = {dict: "an object", str: "a text", int: "a whole number"}


def fill(name: str, **parts: Any) -> str:
    """Return a text of `prompts/` with its placeholders filled."""
    file = resources.files("tao_skill_bank.automl.plan.algorithms.language") / "prompts" / f"{name}.txt"
    return Template(file.read_text(encoding="utf-8")).substitute(parts)


def question(name: str, setup: Setup, trials: Sequence[Trial], **parts: Any) -> str:
    """Return a question about the next trial, with the parts that all questions have."""
    return fill(
        name,
        metric=_metric(setup.options.get("metric")),
        parameters=_parameters(whole(setup), setup.options.get("descriptions") or {}),
        trials=_history(whole(setup), trials),
        number=len(trials),
        left=setup.max_trials - len(trials),
        **parts,
    )


def whole(setup: Setup) -> Space:
    """Return the space with the values of its points, which a model receives instead of coordinates."""
    assert isinstance(setup.space, Space)
    return setup.space


def domain(dimension: Dimension, space: Space) -> str:
    """Return in words which values a parameter can have."""
    whole_number = "whole number" if dimension.integer or dimension.kind == "int" else "number"
    limits = f"{_limit('at least', dimension.minimum)}{_limit('at most', dimension.maximum)}"
    if dimension.kind == "choice":
        return "one of " + json.dumps([choice for choice, _ in points.options(dimension)])
    if dimension.kind == "power":
        return f"a power of two from {2 ** int(dimension.low)} to {2 ** int(dimension.high)}"
    known = {**space.fixed, **space.pinned}
    of = f"{dimension.of} (fixed: {known[dimension.of]})" if dimension.of in known else f"{dimension.of}"
    if dimension.kind == "share":
        return f"a {whole_number} from {dimension.minimum or 0:g} to half of {of}{_limit('at most', dimension.maximum)}"
    if dimension.kind == "ratio":
        factors = ", ".join(
            f"{dimension.ratio * 2.0**step:g}" for step in range(int(dimension.low), int(dimension.high) + 1)
        )
        rounded = ", rounded to a power of two" if dimension.power else ""
        return f"{of} times one of {factors}{rounded}{limits}"
    scale = ", best seen on a logarithmic scale" if dimension.log else ""
    return f"a {whole_number} from {dimension.low:g} to {dimension.high:g}{scale}"


def _limit(words: str, bound: float | None) -> str:
    return "" if bound is None else f", {words} {bound:g}"


def _metric(metric: Any) -> str:
    if metric is None:
        return "the training's metric"
    fields = metric if isinstance(metric, Mapping) else vars(metric)
    negated = ", shown with its sign changed" if fields["direction"] == "maximize" else ""
    return f"{fields['name']} ({fields['direction']} it{negated})"


def _parameters(space: Space, descriptions: Mapping[str, str]) -> str:
    lines = []
    for dimension in space.dimensions:
        about = " ".join(descriptions.get(dimension.name, "").split())[:MAX_CHARACTERS]
        lines.append(f"- {dimension.name}: {domain(dimension, space)}.{' ' if about else ''}{about}")
    return "\n".join(lines)


def _history(space: Space, trials: Sequence[Trial]) -> str:
    """Return the trials as JSON lines, in a long search only the best and the newest."""
    shown = list(trials)
    if len(trials) > MAX_BEST + MAX_NEWEST:
        scored = [trial for trial in trials[:-MAX_NEWEST] if trial.score is not None]
        best = sorted(scored, key=lambda trial: (trial.score, trial.number))[:MAX_BEST]
        shown = [*sorted(best, key=lambda trial: trial.number), *trials[-MAX_NEWEST:]]
    return "\n".join(json.dumps(_row(space, trial)) for trial in shown)


def _row(space: Space, trial: Trial) -> dict[str, Any]:
    values = space.values(trial.coordinates)
    row: dict[str, Any] = {
        "trial": trial.number,
        "values": {dimension.name: values[dimension.name] for dimension in space.dimensions},
        "state": trial.state.value,
        "score": _short(trial.score),
        "score_by_epoch": {str(epoch): _short(score) for epoch, score in sorted(trial.scores.items())},
        "gpu_hours": _short(trial.gpu_hours),
        "by": trial.origin.partition(",")[0],
    }
    if trial.diagnosis:
        row["failure"] = PATH.sub("[path]", redacted(" ".join(trial.diagnosis.split())))[:MAX_CHARACTERS]
    return row


def _short(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.6g}")
