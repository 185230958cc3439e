"""Refuses a metric that no training and no evaluation of a search would compute."""

from typing import Any

from tao_skill_bank.automl.plan.options import Metric
from tao_skill_bank.bank import metric_names
from tao_skill_bank.bank.catalog import Skill, did_you_mean
from tao_skill_bank.bank.metric_names import MetricNames
from tao_skill_bank.contracts import Job, Request
from tao_skill_bank.errors import Problem, RequestError

PATH = "automl.metric"


def require(metric: Metric, skill: Skill, request: Request, job: Job) -> None:
    """Refuse a metric that is never written for the held-out data, or that has no data.

    Raises:
        RequestError: with the metrics that exist.

    """
    known = _known(metric, skill, job)
    found = _unknown(metric, known) if known is not None else None
    if found is None and metric.action is not None and "eval" not in request.datasets:
        message = f"{PATH} {metric.title} scores every trial by its {metric.action}, and there is no eval dataset."
        fix = f"Give one (--eval PATH), or compare trials by the training: --automl metric={_monitored(skill)}"
        found = Problem("metric_without_data", message, fix, "datasets.eval")
    if found is not None:
        raise RequestError([found])


def unknown(given: Any, skill: Skill, job: Job) -> list[Problem]:
    """Return the problem of a metric as a request names it, if it is one that is never computed.

    What is not a name of a metric at all is reported where the options are read.
    """
    action, separator, name = given.rpartition(":") if isinstance(given, str) else ("", "", "")
    if not name.strip() or (separator and action not in skill.info.actions):
        return []
    metric = Metric(name, "maximize", action if separator else None)
    known = _known(metric, skill, job)
    found = _unknown(metric, known) if known is not None else None
    return [found] if found is not None else []


def _known(metric: Metric, skill: Skill, job: Job) -> MetricNames | None:
    evaluation = skill.info.automl.evaluation if skill.info.automl else None
    action = metric.action or (evaluation.action if evaluation else None)
    return metric_names.of(skill, action, metric_names.held_out(job.workload.inputs))


def _unknown(metric: Metric, known: MetricNames) -> Problem | None:
    names = known.training if metric.action is None else known.evaluated
    if metric.name in names:
        return None
    message = f"No training writes the metric {metric.name}."
    if metric.action is not None:
        message = f"{metric.action} computes no metric {metric.name}{_for(known)}."
        if not names:
            message = f"{metric.action} scores no checkpoint of a training, so no trial would have {metric.title}."
    meant = next((title for title in known.titles if title.partition(":")[2] == metric.name), "")
    hint = f" Did you mean '{meant}'?" if meant else did_you_mean(metric.title, known.titles)
    shown = [name for name in known.titles if name.partition(":")[2] not in known.unworded] or list(known.titles)
    fix = f"Use one of: {', '.join(shown)}."
    return Problem("unknown_metric", message + hint, fix, PATH, metric.title, list(known.titles))


def _for(known: MetricNames) -> str:
    return f" for {next(iter(known.evaluation))}" if len(known.evaluation) == 1 else ""


def _monitored(skill: Skill) -> str:
    return skill.info.monitoring_metric.name if skill.info.monitoring_metric else "NAME"
