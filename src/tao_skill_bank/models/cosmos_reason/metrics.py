"""Scores of an evaluation, computed by libraries where possible."""

import importlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import intervals
from tao_skill_bank.core.intervals import Clips, Interval
from tao_skill_bank.errors import MissingExtraError
from tao_skill_bank.models.cosmos_reason import answer_findings, calibration, text_metrics
from tao_skill_bank.models.cosmos_reason.answers import DIRECTIONS, YES_NO, Response
from tao_skill_bank.models.cosmos_reason.calibration import Calibration
from tao_skill_bank.models.cosmos_reason.text_metrics import TextMetrics
from tao_skill_bank.models.cosmos_reason.verdicts import Kind, Outcome, Rule, Verdict, judge, token_f1

UNREAD: tuple[Outcome, ...] = ("unparseable", "cut")  # outcomes that the confusion matrix shows as predictions


@dataclass(frozen=True)
class Scored:
    """One answer with its truth, as annotated, and its verdict; `media` is the clip that it is about."""

    record_id: str
    media: str
    response: Response
    truth: str
    verdict: Verdict

    @classmethod
    def of(cls, record_id: str, media: str, response: Response, truth: str, rule: Rule) -> "Scored":
        """Judge an answer."""
        return cls(record_id, media, response, truth, judge(response, truth, rule))

    @property
    def text(self) -> str:
        """What the answer was read as; empty if it could not be read."""
        return self.verdict.prediction or ""

    @property
    def prediction(self) -> str:
        """The class that was read, or the outcome of an answer that could not be read."""
        return self.verdict.prediction or self.verdict.outcome

    @property
    def token_f1(self) -> float:
        """The word overlap with the truth; 0 if the answer could not be read."""
        return 1.0 if self.verdict.is_right else token_f1(self.text, self.verdict.truth)

    @property
    def probabilities(self) -> dict[str, float]:
        """The probability of each choice; empty unless choices were scored."""
        known = self.response.log_likelihoods
        return calibration.probabilities(known) if known else {}


@dataclass(frozen=True)
class Summary:
    """The content of metrics_summary.json.

    Attributes:
        metrics: name -> value; None if not computed, with the reason in `not_computed`.
        per_class: label -> precision, recall, f1, support.
        confusion_matrix: rows are truths, columns predictions; None for free text.
        intervals: metric -> confidence interval, where there is one.
        calibration: of the confidences, where choices were scored.
        notes: metric -> how it was computed.
        num_records: records of the data, of which the samples may be a subset.

    """

    task: str
    num_samples: int
    metrics: dict[str, float | int | None]
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion_matrix: dict[str, Any] | None = None
    not_computed: dict[str, str] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    calibration: Calibration | None = None
    notes: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    kind: str = "answers"
    num_records: int | None = None


def require_libraries(kind: Kind, names: Sequence[str], *, draws: bool) -> None:
    """Import the libraries that `summarize` and the confusion matrix need. Raises MissingExtraError."""
    if kind == "free_text":
        needed = [library for name, library in text_metrics.LIBRARIES.items() if name in names]
    else:
        needed = ["sklearn.metrics", *(["matplotlib"] if draws else [])]
    for library in needed:
        try:
            importlib.import_module(library)
        except ImportError:
            raise MissingExtraError.for_module(library.partition(".")[0], "train") from None


def summarize(samples: Sequence[Scored], rule: Rule, wanted: TextMetrics, seed: int = 0) -> Summary:
    """Score an evaluation. `seed` is that of the resampling for confidence intervals."""
    clips = Clips.of([sample.media for sample in samples], seed)
    summary = _classes(samples, rule, clips) if rule.is_closed else _free_text(samples, wanted, clips)
    outcomes = Counter(sample.verdict.outcome for sample in samples)
    for name in UNREAD:
        summary.metrics[name] = outcomes[name]
    summary.metrics["hit_max_tokens"] = sum(sample.response.is_cut for sample in samples)
    if wanted.soft_threshold is not None:
        soft = [float(sample.token_f1 >= wanted.soft_threshold) for sample in samples]
        _add_mean(summary, "soft_accuracy", soft, clips)
    responses, truths = [sample.response for sample in samples], [sample.truth for sample in samples]
    summary.findings.extend(answer_findings.of(responses, truths, [sample.verdict for sample in samples], rule))
    return summary


def _classes(samples: Sequence[Scored], rule: Rule, clips: Clips) -> Summary:
    truths, predictions = [sample.verdict.truth for sample in samples], [sample.prediction for sample in samples]
    labels = _labels(rule.kind, truths, predictions)
    metrics, per_class, matrix = _table(truths, predictions, labels)
    summary = Summary(rule.kind, len(samples), metrics, per_class, matrix)
    summary.intervals.update(intervals.of_classes(truths, predictions, labels, clips))
    if rule.kind == "yes_no":
        metrics |= _binary(truths, predictions)
    if rule.kind == "its_directionality":
        for label in labels:
            metrics[f"accuracy_{label}"] = per_class[label]["recall"] if per_class[label]["support"] else None
    if all(sample.response.log_likelihoods for sample in samples):
        return _calibrated(summary, samples, clips)
    return summary


def _calibrated(summary: Summary, samples: Sequence[Scored], clips: Clips) -> Summary:
    confidences = [max(sample.probabilities.values()) for sample in samples]
    measured = calibration.measure(confidences, [sample.verdict.is_right for sample in samples])
    summary.metrics["ece"] = measured.ece
    _add_mean(summary, "confidence", confidences, clips)
    return replace(summary, calibration=measured)


def _labels(kind: Kind, truths: Sequence[str], predictions: Sequence[str]) -> tuple[str, ...]:
    if kind == "letter":
        return tuple(sorted({*truths, *predictions}.difference(UNREAD)))
    return YES_NO if kind == "yes_no" else DIRECTIONS


def _binary(truths: Sequence[str], predictions: Sequence[str]) -> dict[str, float | int | None]:
    """Return the figures of yes/no answers, yes being positive; an answer that could not be read is always wrong."""
    import sklearn.metrics

    pairs = Counter(zip(truths, predictions, strict=True))
    positives, negatives = truths.count("yes"), truths.count("no")
    metrics: dict[str, float | int | None] = {
        "TP": pairs["yes", "yes"],
        "FN": positives - pairs["yes", "yes"],
        "TN": pairs["no", "no"],
        "FP": negatives - pairs["no", "no"],
    }
    opposite = {"yes": "no", "no": "yes"}
    decided = [opposite[t] if p in UNREAD else p for t, p in zip(truths, predictions, strict=True)]
    for name in ("precision", "recall", "f1"):
        score: Callable[..., Any] = getattr(sklearn.metrics, f"{name}_score")
        metrics[name] = float(score(truths, decided, pos_label="yes", zero_division=0))
    return metrics


def _table(
    truths: Sequence[str], predictions: Sequence[str], labels: tuple[str, ...]
) -> tuple[dict[str, float | int | None], dict[str, dict[str, float]], dict[str, Any]]:
    from sklearn import metrics as sklearn

    shown = [*labels, *(name for name in UNREAD if name in predictions)]
    matrix = sklearn.confusion_matrix(truths, predictions, labels=shown).tolist()
    table = sklearn.precision_recall_fscore_support(truths, predictions, labels=list(labels), zero_division=0)
    per_class = {
        label: {
            "precision": float(table[0][row]),
            "recall": float(table[1][row]),
            "f1": float(table[2][row]),
            "support": int(table[3][row]),
        }
        for row, label in enumerate(labels)
    }
    recalls = [scores["recall"] for scores in per_class.values() if scores["support"]]
    metrics: dict[str, float | int | None] = {
        "accuracy": float(sklearn.accuracy_score(truths, predictions)),
        "balanced_accuracy": sum(recalls) / len(recalls),
        "macro_f1": sum(scores["f1"] for scores in per_class.values()) / len(per_class),
    }
    return metrics, per_class, {"labels": shown, "matrix": matrix}


def _free_text(samples: Sequence[Scored], wanted: TextMetrics, clips: Clips) -> Summary:
    summary = Summary("free_text", len(samples), {})
    right = [float(sample.verdict.is_right) for sample in samples]
    for name in ("accuracy", "exact_match"):
        _add_mean(summary, name, right, clips)
    _add_mean(summary, "token_f1", [sample.token_f1 for sample in samples], clips)
    found = text_metrics.compute(
        [sample.text for sample in samples], [sample.verdict.truth for sample in samples], wanted
    )
    summary.metrics.update(found.values)
    summary.not_computed.update(found.reasons)
    summary.notes.update(found.notes)
    for name, values in found.each.items():
        if interval := intervals.of_mean(values, clips):
            summary.intervals[name] = interval
    return summary


def _add_mean(summary: Summary, name: str, values: Sequence[float], clips: Clips) -> None:
    summary.metrics[name] = sum(values) / len(values)
    if interval := intervals.of_mean(values, clips):
        summary.intervals[name] = interval
