import re
from dataclasses import replace
from pathlib import Path

import pytest
from preflight_worlds import make_job, make_record, use_of

from tao_skill_bank.automl.plan import metric_check
from tao_skill_bank.automl.plan.options import Metric
from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Request
from tao_skill_bank.errors import RequestError
from tao_skill_bank.models import cosmos_predict, cosmos_reason
from tao_skill_bank.models.cosmos_predict import scores as predict_scores
from tao_skill_bank.models.cosmos_reason import metrics, scores
from tao_skill_bank.models.cosmos_reason.answers import Response
from tao_skill_bank.models.cosmos_reason.config.evaluate import Metrics
from tao_skill_bank.models.cosmos_reason.text_metrics import TextMetrics
from tao_skill_bank.models.cosmos_reason.verdicts import Rule

WORDS = [("The cup moves to the left side.", "The cup moves to the left side."), ("A red ball.", "A blue ball.")]


@pytest.fixture
def require(dataset, tmp_path):
    def run(name, action, answer="left", skill="cosmos-reason", datasets=None, direction="maximize"):
        turns = [{"from": "human", "value": "<video>\nDoes it move?"}, {"from": "gpt", "value": answer}]
        root = dataset("held_out", records=[make_record(index, conversations=turns) for index in range(3)])
        job = replace(make_job(tmp_path, use_of(root, "eval")))
        datasets = {"eval": str(root)} if datasets is None else datasets
        request = Request(skill, "train", datasets=datasets)
        metric_check.require(Metric(name, direction, action), catalog.find(skill), request, job)

    return run


@pytest.mark.parametrize("name", ["accuracy", "token_f1", "unparseable"])
def test_a_metric_of_the_evaluation_is_accepted(require, name):
    require(name, "evaluate")


def test_a_metric_that_no_evaluation_computes_is_refused_with_those_that_exist(require):
    with pytest.raises(RequestError) as caught:
        require("nonsense", "evaluate")
    (problem,) = caught.value.problems
    assert (problem.code, problem.path, problem.got) == ("unknown_metric", "automl.metric", "evaluate:nonsense")
    assert problem.fix.startswith("Use one of: evaluate:accuracy, ")
    assert "evaluate:rougeL" in problem.expected
    assert "val/avg_loss" in problem.expected


@pytest.mark.parametrize(("answer", "known", "unknown"), [("yes", "recall", "rougeL"), ("left", "rougeL", "recall")])
def test_the_truths_of_the_held_out_records_decide_which_metrics_exist(require, answer, known, unknown):
    require(known, "evaluate", answer)
    with pytest.raises(RequestError, match=f"computes no metric {unknown} for"):
        require(unknown, "evaluate", answer)


def test_a_metric_that_no_training_writes_is_refused_with_the_nearest(require):
    require("val/avg_loss", None, direction="minimize")
    with pytest.raises(RequestError, match="Did you mean 'val/avg_loss'"):
        require("val/loss", None, direction="minimize")
    with pytest.raises(RequestError, match="Did you mean 'evaluate:accuracy'"):
        require("accuracy", None)


def test_an_action_that_scores_no_checkpoint_is_refused(require):
    with pytest.raises(RequestError, match="evaluate scores no checkpoint of a training") as caught:
        require("sampson", "evaluate", skill="cosmos-predict")
    assert "val/avg_loss" in caught.value.problems[0].fix


def test_a_metric_of_an_evaluation_without_data_is_refused(require):
    with pytest.raises(RequestError) as caught:
        require("accuracy", "evaluate", datasets={})
    assert caught.value.problems[0].code == "metric_without_data"
    assert "--eval PATH" in caught.value.problems[0].fix


@pytest.mark.parametrize(
    ("kind", "rule", "pairs"),
    [
        ("yes/no answers", Rule("yes_no", "freeform"), [("Yes", "yes"), ("no", "yes"), ("no", "no")]),
        ("free text", Rule("free_text", "freeform"), WORDS),
    ],
)
def test_the_names_are_those_that_an_evaluation_writes(kind, rule, pairs):
    scored = [
        metrics.Scored.of(str(index), "clip", Response(answer), truth, rule)
        for index, (answer, truth) in enumerate(pairs)
    ]
    config = Metrics()
    summary = metrics.summarize(scored, rule, TextMetrics(tuple(config.names), config.bertscore_model, None, None))
    assert set(summary.metrics) - {"bertscore"} == set(scores.EVALUATION[kind])


@pytest.mark.parametrize(("package", "names"), [(cosmos_reason, scores), (cosmos_predict, predict_scores)])
def test_the_names_are_those_that_a_training_writes(package, names):
    text = (Path(package.__path__[0]) / "reporter.py").read_text()
    assert set(re.findall(r'"((?:train|val|optimizer)/\w+)"', text)) == set(names.TRAINING)


@pytest.mark.parametrize(
    "given", [None, 3, "", ":", "evaluate:", "nothing:accuracy", "evaluate:accuracy", "val/avg_loss"]
)
def test_what_is_no_name_or_exists_is_not_called_unknown(given, dataset, tmp_path):
    job = make_job(tmp_path, use_of(dataset("held_out"), "eval"))
    assert metric_check.unknown(given, catalog.find("cosmos-reason"), job) == []
