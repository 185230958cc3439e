"""Scores of an evaluation, computed by libraries where possible."""

import importlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.models.cosmos_reason import answers, bertscore
from tao_skill_bank.models.cosmos_reason.answers import DIRECTIONS, YES_NO

UNPARSEABLE = "unparseable"
Kind = Literal["its_directionality", "yes_no", "free_text"]
SHOWN_INDICES = 10
TEXT_LIBRARIES = {"bleu": "sacrebleu", "rouge": "rouge_score"}  # a missing bert-score is reported in not_computed


@dataclass(frozen=True)
class Scored:
    """One answer with its truth; `response` is already parsed according to the answer type."""

    record_id: str
    response: str
    truth: str


@dataclass(frozen=True)
class Summary:
    """The content of metrics_summary.json.

    Attributes:
        metrics: name -> value; None if not computed, with the reason in `not_computed`.
        per_class: label -> precision, recall, f1, support.
        confusion_matrix: rows are truths, columns predictions; None for free text.

    """

    task: str
    num_samples: int
    metrics: dict[str, float | int | None]
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion_matrix: dict[str, Any] | None = None
    not_computed: dict[str, str] = field(default_factory=dict)
    kind: str = "answers"


@dataclass(frozen=True)
class TextMetrics:
    """The free text metrics to compute."""

    names: tuple[str, ...] = ("bleu", "rouge")
    bertscore_model: str = "microsoft/deberta-xlarge-mnli"
    bertscore_num_layers: int | None = None
    soft_threshold: float | None = None


def kind_of(truths: Mapping[int, str], task: str) -> Kind:
    """Return how the answers of an evaluation are scored, decided by all of its truths.

    Args:
        truths: position in the annotation file -> truth.
        task: the spec's task.type.

    Raises:
        BlockedError: there are no truths, or some have no direction in the directionality task.

    """
    if not truths:
        raise BlockedError.of("no_records", "There is nothing to evaluate.", "Raise the limit or check the shard.")
    if task == "its_directionality":
        wrong = [index for index, truth in truths.items() if answers.direction(truth) is None]
        if wrong:
            shown = ", ".join(f"#{index}" for index in wrong[:SHOWN_INDICES])
            more = f" and {len(wrong) - SHOWN_INDICES} more" if len(wrong) > SHOWN_INDICES else ""
            message = f"The answers of records {shown}{more} do not contain exactly one of {', '.join(DIRECTIONS)}."
            fix = 'Correct the annotations, or use task.type = "".'
            raise BlockedError.of("not_a_direction", message, fix, path=f"#{wrong[0]}", got=truths[wrong[0]])
        return "its_directionality"
    return "yes_no" if all(answers.is_yes_no(truth) for truth in truths.values()) else "free_text"


def require_libraries(kind: Kind, names: Sequence[str], *, draws: bool) -> None:
    """Import the libraries that `summarize` and the confusion matrix need. Raises MissingExtraError."""
    if kind == "free_text":
        needed = [library for name, library in TEXT_LIBRARIES.items() if name in names]
    else:
        needed = ["sklearn.metrics", *(["matplotlib"] if draws else [])]
    for library in needed:
        try:
            importlib.import_module(library)
        except ImportError:
            raise MissingExtraError.for_module(library.partition(".")[0], "train") from None


def summarize(samples: Sequence[Scored], kind: Kind, text_metrics: TextMetrics) -> Summary:
    """Score an evaluation of the given kind (see `kind_of`)."""
    if kind == "its_directionality":
        summary = _directionality(samples)
    elif kind == "yes_no":
        summary = _yes_no(samples)
    else:
        summary = _free_text(samples, text_metrics)
    if text_metrics.soft_threshold is not None:
        summary.metrics["soft_accuracy"] = _soft_accuracy(samples, text_metrics.soft_threshold)
    return summary


def token_f1(response: str, truth: str) -> float:
    """Return the harmonic mean of word precision and recall after normalisation (SQuAD's F1)."""
    got, expected = answers.normalize(response).split(), answers.normalize(truth).split()
    if not got or not expected:
        return float(got == expected)
    common = sum((Counter(got) & Counter(expected)).values())
    return 2 * common / (len(got) + len(expected))


def is_right(sample: Scored, kind: Kind) -> bool:
    """Return whether one answer counts as right, as the summary counts it."""
    if kind == "its_directionality":
        return answers.direction(sample.response) == answers.direction(sample.truth)
    if kind == "yes_no":
        return answers.yes_or_no(sample.response) == _first_word(sample.truth)
    return answers.normalize(sample.response) == answers.normalize(sample.truth)


def _directionality(samples: Sequence[Scored]) -> Summary:
    truths = [str(answers.direction(sample.truth)) for sample in samples]
    predictions = [answers.direction(sample.response) or UNPARSEABLE for sample in samples]
    metrics, per_class, matrix = _classes(truths, predictions, DIRECTIONS)
    for label in DIRECTIONS:
        metrics[f"accuracy_{label}"] = per_class[label]["recall"] if per_class[label]["support"] else None
    return Summary("its_directionality", len(samples), metrics, per_class, matrix)


def _yes_no(samples: Sequence[Scored]) -> Summary:
    truths = [_first_word(sample.truth) for sample in samples]
    predictions = [answers.yes_or_no(sample.response) or UNPARSEABLE for sample in samples]
    metrics, per_class, matrix = _classes(truths, predictions, YES_NO)
    pairs = Counter(zip(truths, predictions, strict=True))
    positives, negatives = truths.count("yes"), truths.count("no")
    metrics |= {
        "TP": pairs["yes", "yes"],
        "FN": positives - pairs["yes", "yes"],
        "TN": pairs["no", "no"],
        "FP": negatives - pairs["no", "no"],  # an unparseable answer is always wrong
    }
    import sklearn.metrics

    opposite = {"yes": "no", "no": "yes"}
    decided = [opposite[t] if p == UNPARSEABLE else p for t, p in zip(truths, predictions, strict=True)]
    for name in ("precision", "recall", "f1"):
        score: Callable[..., Any] = getattr(sklearn.metrics, f"{name}_score")
        metrics[name] = float(score(truths, decided, pos_label="yes", zero_division=0))
    return Summary("yes_no", len(samples), metrics, per_class, matrix)


def _classes(
    truths: list[str], predictions: list[str], labels: tuple[str, ...]
) -> tuple[dict[str, float | int | None], dict[str, dict[str, float]], dict[str, Any]]:
    from sklearn import metrics as sklearn

    shown = [*labels, UNPARSEABLE] if UNPARSEABLE in predictions else list(labels)
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
        "unparseable": predictions.count(UNPARSEABLE),
    }
    return metrics, per_class, {"labels": shown, "matrix": matrix}


def _free_text(samples: Sequence[Scored], wanted: TextMetrics) -> Summary:
    exact = [answers.normalize(sample.response) == answers.normalize(sample.truth) for sample in samples]
    metrics: dict[str, float | int | None] = {
        "accuracy": sum(exact) / len(samples),
        "exact_match": sum(exact) / len(samples),
        "token_f1": sum(token_f1(sample.response, sample.truth) for sample in samples) / len(samples),
    }
    reasons: dict[str, str] = {}
    for name, compute in (("bleu", _bleu), ("rouge", _rouge)):
        if name in wanted.names:
            metrics |= compute(samples)
        else:
            metrics[name], reasons[name] = None, "not requested in metrics.names"
    metrics["bertscore"], reason = _bertscore(samples, wanted)
    if reason:
        reasons["bertscore"] = reason
    return Summary("free_text", len(samples), metrics, not_computed=reasons)


def _bleu(samples: Sequence[Scored]) -> dict[str, float]:
    """Return corpus BLEU in [0, 1] (sacrebleu, 13a tokenisation; effective n-gram order for short answers)."""
    import sacrebleu

    scorer = sacrebleu.BLEU(effective_order=True)
    scores = [scorer.sentence_score(sample.response, [sample.truth]).score for sample in samples]
    corpus = sacrebleu.corpus_bleu([s.response for s in samples], [[s.truth for s in samples]])
    return {"bleu": corpus.score / 100, "sentence_bleu": sum(scores) / len(scores) / 100}


def _rouge(samples: Sequence[Scored]) -> dict[str, float]:
    """Return the mean ROUGE F-measures (rouge-score, with stemming)."""
    from rouge_score.rouge_scorer import RougeScorer

    names = ("rouge1", "rouge2", "rougeL")
    scorer = RougeScorer(list(names), use_stemmer=True)
    scores = [scorer.score(sample.truth, sample.response) for sample in samples]
    return {name: sum(score[name].fmeasure for score in scores) / len(scores) for name in names}


def _bertscore(samples: Sequence[Scored], wanted: TextMetrics) -> tuple[float | None, str]:
    if "bertscore" not in wanted.names:
        return None, "not requested in metrics.names"
    responses, truths = [s.response for s in samples], [s.truth for s in samples]
    return bertscore.mean_f1(responses, truths, wanted.bertscore_model, wanted.bertscore_num_layers)


def _soft_accuracy(samples: Sequence[Scored], threshold: float) -> float:
    return sum(token_f1(sample.response, sample.truth) >= threshold for sample in samples) / len(samples)


def _first_word(truth: str) -> str:
    return answers.normalize(truth).split(" ", 1)[0]
