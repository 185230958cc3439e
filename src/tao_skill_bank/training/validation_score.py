"""The value of a validation that selects best/."""

from collections.abc import Mapping

from tao_skill_bank.contracts import MonitoringMetric
from tao_skill_bank.errors import JobFailedError


def score_of(values: Mapping[str, float], metric: MonitoringMetric) -> float:
    """Return the monitored metric's value among those that a validation wrote.

    Raises:
        JobFailedError: it was not written, so no epoch would ever be the best; the first validation raises it.

    """
    if metric.name in values:
        return values[metric.name]
    written = ", ".join(values) or "nothing"
    message = f"The validation does not write {metric.name}, which selects best/; it writes {written}."
    fix = (
        "Name a metric that it writes as monitoring_metric in the skill's references/skill_info.yaml, and in facts.py "
        "of its model package; or have the validation write it."
    )
    raise JobFailedError.of("metric_never_written", message, fix, path="monitoring_metric", got=metric.name)
