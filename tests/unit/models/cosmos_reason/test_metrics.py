"""Scores, worked out by hand."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.models.cosmos_reason import answers, confusion_matrix
from tao_skill_bank.models.cosmos_reason.metrics import (
    Scored,
    TextMetrics,
    is_right,
    kind_of,
    require_libraries,
    summarize,
    token_f1,
)


def _samples(*pairs: tuple[str, str]) -> list[Scored]:
    return [Scored(f"r{index}", response, truth) for index, (response, truth) in enumerate(pairs)]


def test_directions_are_scored_per_class_and_an_unparseable_answer_is_wrong() -> None:
    pairs = [
        ("left", "left"),
        ("It turns right.", "left"),
        ("left or right", "left"),
        ("Right", "right"),
        ("", "right"),
    ]
    summary = summarize(_samples(*pairs), "its_directionality", TextMetrics())
    assert summary.metrics["accuracy"] == pytest.approx(2 / 5)
    assert summary.metrics["unparseable"] == 2
    assert summary.metrics["accuracy_left"] == pytest.approx(1 / 3)
    assert summary.metrics["accuracy_straight"] is None
    assert summary.per_class["right"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert summary.confusion_matrix == {
        "labels": ["left", "right", "straight", "unparseable"],
        "matrix": [[1, 1, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]],
    }


def test_a_truth_without_a_direction_is_the_annotations_mistake() -> None:
    with pytest.raises(BlockedError, match="#4, #8"):
        kind_of({2: "left", 4: "yes", 6: "right.", 8: "left or right"}, "its_directionality")
    with pytest.raises(BlockedError, match="nothing to evaluate"):
        kind_of({}, "")


def test_truths_of_several_kinds_are_all_scored_as_free_text() -> None:
    samples = _samples(("Yes, two cars collide.", "yes"), ("yes", "yes"), ("a truck", "a truck"))
    kind = kind_of({index: sample.truth for index, sample in enumerate(samples)}, "")
    assert kind == "free_text"
    verdicts = [is_right(sample, kind) for sample in samples]
    assert verdicts == [False, True, True]
    assert summarize(samples, kind, TextMetrics(())).metrics["accuracy"] == pytest.approx(sum(verdicts) / 3)


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
    pairs = [("Yes.", "yes"), ("no", "Yes, two cars collide."), ("No", "no"), ("yes", "no"), ("perhaps", "no")]
    assert kind_of({index: truth for index, (_, truth) in enumerate(pairs)}, "") == "yes_no"
    summary = summarize(_samples(*pairs), "yes_no", TextMetrics())
    assert summary.task == "yes_no"
    counts = {name: summary.metrics[name] for name in ("TP", "FN", "TN", "FP")}
    assert counts == {"TP": 1, "FN": 1, "TN": 1, "FP": 2}
    assert summary.metrics["accuracy"] == pytest.approx(2 / 5)
    assert summary.metrics["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert summary.metrics["precision"] == pytest.approx(1 / 3)
    assert summary.metrics["recall"] == pytest.approx(1 / 2)
    assert summary.metrics["f1"] == pytest.approx(0.4)


def test_free_text_gets_text_metrics_and_reasons_for_what_is_missing() -> None:
    samples = _samples(("The red car turns left.", "a red car turns left"), ("nothing", "a truck stops"))
    summary = summarize(
        samples, "free_text", TextMetrics(("bleu", "rouge", "bertscore"), "/nowhere", 2, soft_threshold=0.8)
    )
    assert summary.metrics["exact_match"] == 0.5
    assert summary.metrics["token_f1"] == 0.5
    assert summary.metrics["soft_accuracy"] == 0.5
    assert 0 < (summary.metrics["bleu"] or 0) < 1
    assert 0 < (summary.metrics["rougeL"] or 0) < 1
    assert summary.metrics["bertscore"] is None
    assert set(summary.not_computed) == {"bertscore"}
    assert summary.confusion_matrix is None


def test_text_metrics_that_were_not_asked_for_say_so() -> None:
    summary = summarize(_samples(("a cat", "a dog")), "free_text", TextMetrics(()))
    assert set(summary.not_computed) == {"bleu", "rouge", "bertscore"}


def test_token_f1_counts_shared_words() -> None:
    assert token_f1("the cat sat", "a cat ran") == pytest.approx(0.5)
    assert token_f1("", "") == 1.0
    assert token_f1("cat", "") == 0.0


@pytest.mark.parametrize(
    ("kind", "response", "expected"),
    [
        ("naive", " B ", " B "),
        ("freeform", " left ", "left"),
        ("reasoning", "<think>It was right.</think>\n<answer>left</answer>", "left"),
        ("reasoning", "<think>right</think> left", "left"),
        ("letter", "The answer is (B).", "B"),
        ("letter", "C. A truck", "C"),
        ("letter", "none", "none"),
        ("letter", "B", "B"),
        ("letter", "**D**", "D"),
        ("letter", "I think the answer is (C)", "C"),
        ("letter", "I'd say it is C, not a truck", "C"),
        ("letter", "A car turns, so B", "B"),
        ("letter", "A) is wrong, so it is [C].", "C"),
        ("letter", "A. A car turns", "A"),
        ("letter", "It is A because it turns", "A"),
    ],
)
def test_answers_are_read_by_their_type(kind: str, response: str, expected: str) -> None:
    assert answers.read(response, kind) == expected  # type: ignore[arg-type]


def test_the_confusion_matrix_is_a_picture(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "matrix.png"
    confusion_matrix.draw(path, ["left", "right", "unparseable"], [[3, 1, 0], [0, 4, 1], [0, 0, 0]], accuracy=0.78)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert min(image.size) > 300
        assert len(set(image.convert("L").tobytes())) > 50
