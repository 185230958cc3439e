"""Every kind of result has a page of its own: no question of a classifier, no video of plain numbers."""

import json
from pathlib import Path

import jsonschema
import pytest
from report_runs import make_evaluation, make_training, write

from tao_skill_bank.contracts import MonitoringMetric
from tao_skill_bank.models.cosmos_predict import comparison
from tao_skill_bank.models.cosmos_reason import metrics
from tao_skill_bank.report import kinds, views, write_report
from tao_skill_bank.runs.run_directory import RunDirectory

CLASSES = {
    "kind": "classes",
    "num_samples": 6,
    "metrics": {"loss": 0.7, "accuracy": 0.5, "top5": None},
    "not_computed": {"top5": "there are 3 classes"},
    "per_class": {"walk": {"precision": 0.5, "recall": 0.75, "f1": 0.6, "support": 4}},
    "confusion_matrix": {"labels": ["run", "walk"], "matrix": [[0, 2], [1, 3]]},
}
ENTRIES = [
    {"sample": "run/1.mp4", "truth": "run", "prediction": "walk", "score": 0.6},
    {"sample": "run/2.mp4", "truth": "run", "prediction": "walk", "score": 0.9},
    {"sample": "walk/3.mp4", "truth": "walk", "prediction": "walk", "score": 0.8},
    {"sample": "walk/4.mp4", "truth": "walk", "prediction": "run"},
    {"sample": "walk/5.mp4", "truth": "walk"},
]


def run_of(folder: Path, summary: object, results: object = None, metric: dict[str, str] | None = None) -> RunDirectory:
    write(folder / "metrics_summary.json", summary)
    if results is not None:
        write(folder / "results.json", results)
    if metric:
        write(folder / "plan.json", {"job": {"action": "evaluate", "metric": metric}})
    return RunDirectory(folder)


def page_of(run: RunDirectory) -> str:
    return write_report({"": run}, run.path / "report.html").read_text()


def kind_of(run: RunDirectory) -> str:
    evaluation = views.read("", run).evaluation
    assert evaluation is not None
    return evaluation.kind


def test_a_classifier_is_shown_by_its_classes_and_its_most_confident_mistakes(tmp_path: Path) -> None:
    accuracy = {"name": "accuracy", "direction": "maximize"}
    page = page_of(run_of(tmp_path / "run", CLASSES, {"kind": "classes", "entries": ENTRIES}, accuracy))
    assert "accuracy · evaluate (higher is better)" in page
    assert "3 of 4 samples" in page
    assert "1 entry lacks a truth or a prediction" in page
    assert page.index("run/2.mp4") < page.index("run/1.mp4") < page.index("walk/4.mp4")
    assert "walk/3.mp4" not in page
    assert '<table class="matrix">' in page
    body = page.partition("</style>")[2]
    for foreign in ("question", "Samples", "frame"):
        assert foreign not in body


def test_the_headline_is_the_first_metric_where_the_skill_names_none(tmp_path: Path) -> None:
    seen = [views.read("", run_of(tmp_path / "run", CLASSES, ENTRIES))]
    assert views.headline(seen) == views.Headline("loss", (("run", 0.7),))


def test_numbers_alone_are_shown_by_their_paths(tmp_path: Path) -> None:
    summary = {"kind": "numbers", "metrics": {"bytes_ratio": 0.5}}
    page = page_of(run_of(tmp_path / "run", summary, {"bytes": {"before": 200, "after": 100}, "name": "int8"}))
    assert "2 numbers of" in page
    assert "bytes.<wbr>after" in page
    assert "Samples" not in page


def test_videos_are_listed_with_their_variants(tmp_path: Path) -> None:
    entry = {"name": "pick", "variant": "lora", "video": "videos/pick.mp4", "prompt": "A robot picks."}
    page = page_of(run_of(tmp_path / "run", {"kind": "videos", "metrics": {"judge/lora": 3}}, [entry]))
    assert "1 videos" in page
    assert "videos/pick.mp4" in page


@pytest.mark.parametrize(
    ("results", "kind"),
    [
        ([{"video_id": "a.mp4", "question": "?", "response": "left", "gt": "left"}], "answers"),
        ([{"name": "pick", "variant": "base"}], "videos"),
        ({"bytes": {"before": 2}}, "numbers"),
        (None, "numbers"),
    ],
)
def test_a_document_without_a_kind_is_read_as_what_it_is(tmp_path: Path, results: object, kind: str) -> None:
    run = run_of(tmp_path / "run", {"metrics": {"accuracy": 1}}, results)
    assert kind_of(run) == kind
    assert "accuracy" in page_of(run)


def test_a_kind_of_another_release_is_shown_as_numbers_and_said(tmp_path: Path) -> None:
    page = page_of(run_of(tmp_path / "run", {"kind": "../boxes", "metrics": {"map": 0.25}}, [{"box": [1, 2]}]))
    assert "does not know results of kind ../boxes" in page
    assert "0.25" in page


def test_evaluations_of_two_kinds_share_a_page(tmp_path: Path) -> None:
    runs = {
        "answers": make_evaluation(tmp_path / "answers", tmp_path / "data", lambda _: True),
        "classes": run_of(tmp_path / "classes", CLASSES, ENTRIES),
    }
    sections = kinds.sections([views.read(role, run) for role, run in runs.items()])
    assert [section.kind for section in sections] == ["answers", "classes"]
    page = write_report(runs, tmp_path / "report.html").read_text()
    assert "Samples" in page
    assert "Mistakes" in page


def test_the_skills_own_metric_has_a_chart_that_says_which_way_is_better(tmp_path: Path) -> None:
    run = make_training(tmp_path / "run", tmp_path)
    plan = json.loads(run.plan_file.read_text())
    plan["job"]["metric"] = {"name": "val/accuracy", "direction": "maximize"}
    write(run.plan_file, plan)
    with run.metrics_file.open("a") as file:
        file.writelines(json.dumps({"step": step, "val/accuracy": step / 60}) + "\n" for step in (15, 30, 45))
    assert views.read("", run).result.metric == MonitoringMetric("val/accuracy", "maximize")
    page = page_of(run)
    assert "val/accuracy (higher is better)" in page
    assert page.count("<svg") == 3


def schema(project_root: Path, name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((project_root / "schemas" / f"{name}.schema.json").read_text()))


def test_what_the_models_write_is_valid(project_root: Path) -> None:
    measured = {"mean": 0.84, "std": None, "reason": ""}
    measures = {metric.key: measured for metric in comparison.METRICS}
    compared = comparison.summary(comparison.compare([{"name": "pick", "variant": "base", **measures}]))
    summary = schema(project_root, "metrics_summary")
    assert [error.message for error in summary.iter_errors(compared)] == []
    assert [error.message for error in summary.iter_errors(CLASSES)] == []
    assert summary.is_valid({"kind": "answers", "metrics": {}})
    assert not summary.is_valid({"kind": "boxes", "metrics": {}})
    assert schema(project_root, "results").is_valid({"kind": "classes", "entries": ENTRIES})


def test_the_summary_of_answers_states_its_kind() -> None:
    assert metrics.Summary("yes_no", 0, {}).kind == "answers"
