"""Scores, worked out by hand."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tao_skill_bank.errors import MissingExtraError
from tao_skill_bank.models.cosmos_reason import confusion_matrix
from tao_skill_bank.models.cosmos_reason.answers import AnswerType, Response
from tao_skill_bank.models.cosmos_reason.metrics import Scored, Summary, TextMetrics, require_libraries, summarize
from tao_skill_bank.models.cosmos_reason.verdicts import Kind, Rule


def _summary(
    pairs: list[Any],
    kind: Kind,
    wanted: TextMetrics | None = None,
    answer_type: AnswerType = "freeform",
) -> Summary:
    rule = Rule(kind, answer_type)
    responses = [Response(given) if isinstance(given, str) else given for given, _ in pairs]
    samples = [
        Scored.of(f"r{index}", f"{index}.mp4", response, truth, rule)
        for index, (response, (_, truth)) in enumerate(zip(responses, pairs, strict=True))
    ]
    return summarize(samples, rule, wanted or TextMetrics())


def test_directions_are_scored_per_class_and_an_unparseable_answer_is_wrong() -> None:
    pairs: list[Any] = [
        ("left", "left"),
        ("It turns right.", "left"),
        ("left or right", "left"),
        ("Right", "right"),
        ("", "right"),
    ]
    summary = _summary(pairs, "its_directionality")
    assert summary.metrics["accuracy"] == pytest.approx(2 / 5)
    assert summary.metrics["unparseable"] == 2
    assert summary.metrics["accuracy_left"] == pytest.approx(1 / 3)
    assert summary.metrics["accuracy_straight"] is None
    assert summary.per_class["right"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert summary.confusion_matrix == {
        "labels": ["left", "right", "straight", "unparseable"],
        "matrix": [[1, 1, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]],
    }


@pytest.mark.parametrize(
    ("kind", "library"), [("free_text", "sacrebleu"), ("free_text", "rouge_score"), ("yes_no", "sklearn.metrics")]
)
def test_a_library_that_will_be_needed_is_asked_for(kind: Any, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_libraries(kind, ("bleu", "rouge", "bertscore"), draws=True)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=library.partition(".")[0]):
        require_libraries(kind, ("bleu", "rouge"), draws=True)
    require_libraries("its_directionality" if kind == "free_text" else "free_text", (), draws=True)


def test_yes_and_no_are_detected_and_counted() -> None:
    pairs: list[Any] = [
        ("Yes.", "yes"),
        ("no", "Yes, two cars collide."),
        ("No", "no"),
        ("yes", "no"),
        ("perhaps", "no"),
    ]
    summary = _summary(pairs, "yes_no")
    assert summary.task == "yes_no"
    counts = {name: summary.metrics[name] for name in ("TP", "FN", "TN", "FP")}
    assert counts == {"TP": 1, "FN": 1, "TN": 1, "FP": 2}
    assert summary.metrics["accuracy"] == pytest.approx(2 / 5)
    assert summary.metrics["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert summary.metrics["precision"] == pytest.approx(1 / 3)
    assert summary.metrics["recall"] == pytest.approx(1 / 2)
    assert summary.metrics["f1"] == pytest.approx(0.4)


def test_free_text_gets_text_metrics_and_reasons_for_what_is_missing() -> None:
    pairs: list[Any] = [("The red car turns left.", "a red car turns left"), ("nothing", "a truck stops")]
    wanted = TextMetrics(("bleu", "rouge", "bertscore"), "/nowhere", 2, soft_threshold=0.8)
    summary = _summary(pairs, "free_text", wanted)
    assert summary.metrics["exact_match"] == 0.5
    assert summary.metrics["token_f1"] == 0.5
    assert summary.metrics["soft_accuracy"] == 0.5
    assert 0 < (summary.metrics["bleu"] or 0) < 1
    assert 0 < (summary.metrics["rougeL"] or 0) < 1
    assert summary.metrics["bertscore"] is None
    assert set(summary.not_computed) == {"bertscore"}
    assert summary.confusion_matrix is None


def test_text_metrics_that_were_not_asked_for_say_so() -> None:
    summary = _summary([("a cat", "a dog")], "free_text", TextMetrics(()))
    assert set(summary.not_computed) == {"bleu", "rouge", "bertscore"}


def test_answers_that_could_not_be_read_are_columns_of_their_own() -> None:
    cut = Response("<think>It may be right", is_cut=True)
    pairs: list[Any] = [(cut, "left"), ("", "left"), ("left", "left"), (Response("Right, as", is_cut=True), "right")]
    summary = _summary(pairs, "its_directionality")
    assert (summary.metrics["cut"], summary.metrics["unparseable"], summary.metrics["hit_max_tokens"]) == (1, 1, 2)
    assert summary.metrics["accuracy"] == 0.5
    assert summary.confusion_matrix == {
        "labels": ["left", "right", "straight", "unparseable", "cut"],
        "matrix": [[1, 0, 0, 1, 1], [0, 1, 0, 0, 0], *[[0] * 5] * 3],
    }


def test_letters_are_classes_with_those_that_only_the_model_names() -> None:
    pairs: list[Any] = [("The answer is (B).", "B"), ("E", "A. A truck"), ("a. A truck", "A. A truck"), ("none", "B")]
    summary = _summary(pairs, "letter", answer_type="letter")
    assert summary.confusion_matrix is not None
    assert summary.confusion_matrix["labels"] == ["A", "B", "E", "unparseable"]
    assert summary.metrics["balanced_accuracy"] == 0.5
    assert "bleu" not in summary.metrics


def test_choices_have_confidence_and_calibration() -> None:
    sure, unsure = {"yes": -0.1, "no": -5.0}, {"yes": -0.7, "no": -0.7}
    pairs: list[Any] = [(Response("yes", log_likelihoods=own), "yes") for own in (sure, unsure)]
    summary = _summary([*pairs, (Response("yes", log_likelihoods=sure), "no")], "yes_no")
    confidence = [0.99261, 0.5, 0.99261]
    assert summary.metrics["confidence"] == pytest.approx(sum(confidence) / 3, abs=1e-4)
    assert summary.calibration is not None
    assert [each.count for each in summary.calibration.bins] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 2]
    assert summary.metrics["ece"] == pytest.approx((2 * abs(0.5 - 0.99261) + abs(1 - 0.5)) / 3, abs=1e-4)


def test_equal_answers_have_full_marks_in_every_text_metric() -> None:
    for text in ("A", "向左转", "गाड़ी", "the"):
        summary = _summary([(text, text)], "free_text", TextMetrics(soft_threshold=1.0))
        for name in ("accuracy", "token_f1", "soft_accuracy", "rouge1"):
            assert summary.metrics[name] == 1.0, (text, name)


def test_a_summary_is_valid_with_everything_that_it_may_hold(project_root: Path) -> None:
    own = {"yes": -0.1, "no": -5.0}
    pairs: list[Any] = [(Response("yes", log_likelihoods=own), truth) for truth in ("yes", "no", "yes", "yes")]
    summary = _summary(pairs, "yes_no")
    assert summary.findings
    assert summary.intervals
    schema = json.loads((project_root / "schemas" / "metrics_summary.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(asdict(summary))))


def test_the_confusion_matrix_is_a_picture(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "matrix.png"
    confusion_matrix.draw(path, ["left", "right", "unparseable"], [[3, 1, 0], [0, 4, 1], [0, 0, 0]], accuracy=0.78)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert min(image.size) > 300
        assert len(set(image.convert("L").tobytes())) > 50
