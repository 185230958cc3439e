import json

import pytest
from runs import make_job, make_plan

from tao_skill_bank.contracts import State, from_json, to_json
from tao_skill_bank.runs import results
from tao_skill_bank.runs.results import Curve, Result
from tao_skill_bank.runs.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "run")


def write(run, name, content):
    path = run.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in content) if name.endswith("l") else json.dumps(content))


@pytest.fixture
def trained(run):
    """Return the directory of a finished training."""
    write(run, "plan.json", to_json(make_plan(make_job(run.path, id="cosmos-rl-train-0123456789ab"))))
    status = [
        {"time": 100.0, "state": "STARTED"},
        {"time": 105.0, "state": "RUNNING", "step": 9, "total": 9},  # features that are kept, before the first step
        {"time": 110.0, "state": "RUNNING", "step": 2, "total": 4},
        {"time": 130.5, "state": "SUCCESS", "step": 4, "total": 4},
    ]
    write(run, "status.jsonl", status)
    metrics = [
        {"step": 1, "train/loss_avg": 4.0, "optimizer/lr": 1e-3},
        {"step": 2, "train/loss_avg": 2.0, "optimizer/lr": 5e-4},
        {"step": 2, "val/avg_loss": 2.5},
        {"step": 3, "train/loss_avg": 1.0, "optimizer/lr": 0.0},
        {"step": 4, "val/avg_loss": 1.5},
    ]
    write(run, "metrics.jsonl", metrics)
    best = {"best_score": 1.5, "metric": "val/avg_loss", "best_ckpt_abs_dir": str(run.path / "best")}
    write(run, "best/best_score.json", best)
    for epoch in (1, 2, 10):
        (run.path / "checkpoints" / f"epoch_{epoch}").mkdir(parents=True)
    return run


def test_the_result_of_a_training(trained):
    result = results.read(trained)
    assert (result.state, result.job_id, result.action) == (State.COMPLETE, "cosmos-rl-train-0123456789ab", "train")
    assert (result.steps, result.duration_seconds) == (4, 30.5)
    assert result.losses == {
        "train_loss_first": 4.0,
        "train_loss_last": 1.0,
        "train_loss_lowest": 1.0,
        "validation_loss_first": 2.5,
        "validation_loss_last": 1.5,
        "validation_loss_lowest": 1.5,
    }
    assert result.metrics == {"train/loss_avg": 1.0, "optimizer/lr": 0.0, "val/avg_loss": 1.5}
    assert result.best["best_score"] == 1.5


def test_checkpoints_are_listed_in_the_order_of_their_epochs(trained):
    names = ("checkpoints/epoch_1", "checkpoints/epoch_2", "checkpoints/epoch_10")
    assert results.read(trained).artifacts["checkpoints"] == names


def test_artifacts_are_only_what_is_there(trained):
    assert set(results.read(trained).artifacts) == {"best", "metrics", "status", "checkpoints"}


def test_the_result_of_an_evaluation_has_its_metrics_and_the_reasons_of_missing_ones(run):
    summary = {
        "task": "its_directionality",
        "num_samples": 3,
        "metrics": {"accuracy": 0.5, "bertscore": None},
        "not_computed": {"bertscore": "needs a 3 GB model"},
    }
    write(run, "metrics_summary.json", summary)
    result = results.read(run, State.COMPLETE)
    assert result.metrics == {"accuracy": 0.5, "bertscore": None}
    assert result.not_computed == {"bertscore": "needs a 3 GB model"}


def test_a_failed_run_says_why(run):
    diagnosis = {"code": "nan_loss", "cause": "The loss is not a number.", "cure": "Lower optm_lr."}
    line = {"time": 1, "state": "FAILURE", "message": "FloatingPointError", "diagnosis": diagnosis}
    write(run, "status.jsonl", [{"time": 0, "state": "STARTED"}, line])
    result = results.read(run)
    assert result.state is State.ERROR
    assert result.failure == "FloatingPointError The loss is not a number. Lower optm_lr."


def test_a_diverged_loss_is_no_number_of_the_result(run):
    write(run, "metrics.jsonl", [{"step": 1, "train/loss_avg": 3.0}, {"step": 2, "train/loss_avg": float("nan")}])
    result = results.read(run)
    assert result.metrics == {"train/loss_avg": None}
    assert results.curves(run) == {"train_loss": Curve((1.0,), (3.0,))}
    json.dumps(to_json(result), allow_nan=False)


def test_steps_that_a_resumed_run_wrote_again_count_once(run):
    lines = [{"step": step, "train/loss_avg": loss} for step, loss in ((1, 3.0), (2, 2.0), (2, 1.9), (3, 1.0))]
    write(run, "metrics.jsonl", lines)
    assert results.curves(run)["train_loss"] == Curve((1.0, 2.0, 3.0), (3.0, 1.9, 1.0))


def test_a_directory_that_is_missing_or_empty_has_an_unknown_result(run):
    assert results.read(run) == Result(State.UNKNOWN)
    run.path.mkdir()
    assert results.read(run) == Result(State.UNKNOWN)


def test_a_run_that_stopped_midway_keeps_what_it_had(trained):
    trained.status_file.write_text('{"time": 100.0, "state": "STARTED"}\n{"time": 110.0, "state": "RUN')
    trained.plan_file.write_text('{"job": {"id":')
    result = results.read(trained)
    assert (result.state, result.job_id, result.steps) == (State.UNKNOWN, "", 0)
    assert result.losses["train_loss_last"] == 1.0


def test_the_written_result_reads_back_and_its_state_holds(trained):
    result = results.read(trained, State.CANCELED)
    results.write(trained, result)
    document = json.loads(trained.result_file.read_text())
    assert from_json(Result, document, "result.json") == result
    assert results.read(trained).state is State.CANCELED
