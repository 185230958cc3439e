"""What metrics_summary.json and results.json hold, by the kind of result (references/results.md)."""

from dataclasses import field
from typing import Any, Literal

from tao_skill_bank.contracts import Finding, contract

Kind = Literal["answers", "classes", "videos", "numbers"]


@contract
class ConfusionMatrix:
    """Rows are truths, columns predictions; there may be more labels than rows."""

    labels: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]


@contract
class Interval:
    """A confidence interval of a metric and the method that computed it."""

    low: float
    high: float
    level: float
    method: str = ""


@contract
class ConfidenceBin:
    """Samples whose confidence is above `low` and at most `high`: their mean confidence and accuracy."""

    low: float
    high: float
    count: int
    confidence: float | None = None
    accuracy: float | None = None


@contract
class Calibration:
    """How confidence agrees with accuracy; `ece` is the expected calibration error."""

    ece: float
    bins: tuple[ConfidenceBin, ...] = ()


@contract
class MetricsSummary:
    """metrics_summary.json: what an evaluation measured over all samples.

    Attributes:
        kind: what was evaluated, which selects how the report shows it.
        metrics: name to value; None where it was not computed, and then `not_computed` says why. One that compares
            variants names its metrics METRIC/VARIANT.
        num_records: records of the data, of which the samples may be a subset; None where it is not known.
        task: the kind of question or comparison, in words.
        units: of metrics that are not fractions; a fraction from 0 to 1 is shown in percent.
        per_class: label to precision, recall, f1 and support.
        variants: of a comparison, the measurements of each.
        intervals: metric to its confidence interval, where there is one.
        calibration: of predictions with a confidence.
        notes: metric to how it was computed.
        findings: what the results say about the evaluation itself.

    """

    kind: Kind
    metrics: dict[str, float | int | None]
    num_samples: int = 0
    num_records: int | None = None
    task: str = ""
    units: dict[str, str] = field(default_factory=dict)
    not_computed: dict[str, str] = field(default_factory=dict)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion_matrix: ConfusionMatrix | None = None
    variants: dict[str, Any] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    calibration: Calibration | None = None
    notes: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@contract
class Results:
    """results.json: one entry per sample. A bare list of entries has the kind that metrics_summary.json names.

    Attributes:
        kind: what the entries are, which determines their fields (references/results.md).

    """

    kind: Kind
    entries: tuple[dict[str, Any], ...]
