"""Warns of a search by a loss where the user's words name a metric that an evaluation would compute."""

import re
from collections.abc import Iterable

from tao_skill_bank.bank import metric_names
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import Finding, Job, Request, Route
from tao_skill_bank.core.findings import warning

OTHER_WORDS = {"accuracy": r"accura(?:cy|te|tely)"}
ARITHMETIC = r"(?<!mixed )(?<!mixed-)(?<!half )(?<!half-)(?<!full )(?<!single )(?<!numerical )"  # precision of numbers


def check(skill: Skill, request: Request, route: Route, job: Job) -> list[Finding]:
    """Return a warning where the prompt names a metric and the request leaves the search to the skill's own one."""
    evaluation = skill.info.automl.evaluation if skill.info.automl else None
    searched = skill.info.monitoring_metric
    if route.kind != "automl" or evaluation is None or searched is None or "metric" in request.automl:
        return []
    known = metric_names.of(skill, evaluation.action, metric_names.held_out(job.workload.inputs))
    names = known.evaluated if known else (evaluation.metric,)
    said = named(request.prompt, (name for name in names if not known or name not in known.unworded))
    if said is None:
        return []
    name, words = said
    message = (
        f'The request says "{words}", and the search compares trials by {searched.name}: the one with the best '
        f"{name} need not be the one with the best loss."
    )
    option = f"--automl metric={evaluation.action}:{name}"
    option += "" if name == evaluation.metric else f" --automl direction={evaluation.direction}"
    fix = f"To compare trials by it: {option} (every trial is then evaluated once more)."
    if "eval" not in request.datasets:
        fix = f"Give an eval dataset (--eval PATH) and compare trials by it: {option}."
    return [warning("metric_in_words", message, fix, "automl.metric", said=words, metric=f"{evaluation.action}:{name}")]


def named(prompt: str, names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first metric that a text names, the longest name at a place, and the words that do."""
    by_length = sorted(names, key=len, reverse=True)
    places = [
        (match.start(), order, name, match.group())
        for order, name in enumerate(by_length)
        if (match := re.search(_pattern(name), prompt, re.IGNORECASE))
    ]
    if not places:
        return None
    _, _, name, words = min(places)
    return name, words


def _pattern(name: str) -> str:
    words = r"[\s_-]?".join(OTHER_WORDS.get(part, re.escape(part)) for part in name.split("_"))
    before = ARITHMETIC if name == "precision" else ""
    return rf"(?<![\w-]){before}{words}(?!\w)"
