"""What a real search leaves behind: its page, and a request that trains the best spec."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tao_skill_bank.automl.run.best import best_of
from tao_skill_bank.automl.run.trials import open_search
from tao_skill_bank.cli.main import app
from tao_skill_bank.contracts import PlatformRequest, Request, State
from tao_skill_bank.core import yaml12
from tao_skill_bank.jobs import service
from tao_skill_bank.planning import dispatch
from tao_skill_bank.runs.run_directory import read_json_file

pytestmark = pytest.mark.usefixtures("third_skill")


def run_search(run, overrides=None, datasets=None, **automl):
    request = Request(
        "toy",
        "train",
        datasets=datasets or {},
        overrides=overrides or {},
        platform=PlatformRequest(options={"device": "cpu"}),
        automl=automl,
        results_dir=str(run),
    )
    handle = dispatch.run(dispatch.plan(request))
    status = handle.wait(120)
    assert status.state is State.COMPLETE, status.message
    return handle, open_search(run)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_the_best_request_runs_as_it_is_and_gets_the_best_trials_score(tmp_path):
    run = tmp_path / "run"
    overrides = {"train": {"optm_lr": 1e-4, "epoch": 3}, "results_dir": str(run)}
    _, search = run_search(
        run, overrides, max_trials=4, parallel=2, ranges={"train.optm_lr": {"minimum": 1e-3, "maximum": 1e-2}}
    )
    best = best_of(search.storage.entries())
    assert best.number > 0
    assert not [value for value in yaml12.read(run / "best_request.yaml").values() if value in ("", None, {})]
    shown = CliRunner().invoke(app, ["run", "--request", str(run / "best_request.yaml"), "--json"])
    assert shown.exit_code == 0, shown.output
    job = json.loads(shown.stdout)["result"]["job_id"]
    again = service.JobHandle(job).result()
    assert again.metrics["val/avg_loss"] == pytest.approx(best.trial.score)
    assert service.JobHandle(job).run_directory.path != run


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_the_best_request_of_paused_trials_trains_every_epoch(tmp_path):
    run = tmp_path / "run"
    run_search(run, {"train.epoch": 3}, algorithm="asha", max_trials=3, parallel=2)
    request = yaml12.read(run / "best_request.yaml")
    assert request["overrides"]["train.epoch"] == 3
    assert "train.stop_epoch" not in request["overrides"]


@pytest.mark.slow
def test_the_controller_leaves_the_page_and_the_report_command_writes_it_again(tmp_path):
    run = tmp_path / "run"
    handle, _ = run_search(run, max_trials=2, parallel=2)
    left = (run / "report.html").read_text()
    assert "COMPLETE" in left
    assert "2 trials, " in left
    for words in (["report", handle.id, "--out", str(tmp_path / "other.html")], ["automl", "report", handle.id]):
        shown = CliRunner().invoke(app, [*words, "--json"])
        assert shown.exit_code == 0, shown.output
        written = json.loads(shown.stdout)["report"]
        assert "2 of at most 2: 2 complete" in Path(written).read_text(encoding="utf-8")
    assert "report" not in read_json_file(run / "metrics_summary.json")["not_computed"]


@pytest.mark.slow
def test_a_report_that_fails_does_not_fail_the_search(tmp_path):
    run = tmp_path / "run"
    (run / "report.html").mkdir(parents=True)
    handle, _ = run_search(run, max_trials=1)
    summary = read_json_file(run / "metrics_summary.json")
    assert summary["metrics"]["best_trial"] == 0
    assert "The report cannot be written" in summary["not_computed"]["report"]
    assert "traceback" not in handle.status().message.lower()


@pytest.mark.slow
def test_the_page_of_a_search_that_runs_and_of_one_that_was_cancelled(tmp_path):
    run = tmp_path / "run"
    overrides = {"train.seconds_per_epoch": 0.5}
    handle = dispatch.run(
        dispatch.plan(Request("toy", "train", overrides=overrides, automl={"max_trials": 5}, results_dir=str(run)))
    )
    while not handle.status().progress.get("step") and not handle.status().state.is_terminal:
        pass
    shown = CliRunner().invoke(app, ["report", handle.id])
    assert shown.exit_code == 0, shown.output
    assert '<span class="badge running">RUNNING</span>' in (run / "report.html").read_text()
    handle.cancel()
    shown = CliRunner().invoke(app, ["report", handle.id])
    assert shown.exit_code == 0, shown.output
    assert '<span class="badge canceled">CANCELED</span>' in (run / "report.html").read_text()


def with_evaluation(bank, *, reads_models=True, **said):
    """Have the third skill's searches evaluate their base and best, by an action that scores trained heads only."""
    path = bank / "skills" / "tao-finetune-toy" / "references" / "skill_info.yaml"
    facts = yaml12.read(path)
    facts["automl"]["evaluation"] = {"action": "evaluate", "metric": "accuracy", "direction": "maximize", **said}
    for action in facts["actions"].values():
        action["resources"]["cpu"] = True
    if reads_models:
        facts["actions"]["train"]["inputs"] = {"models": ["base"]}
        facts["actions"]["evaluate"]["inputs"] = {"models": ["checkpoint"]}
    path.write_text(yaml12.render(facts))


NEW_HEAD = "The classification head is new"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("facts", "why", "is_noted"),
    [
        ({}, NEW_HEAD, False),
        ({"scores_base": False}, "cannot score a model before it is trained", True),
        ({"reads_models": False}, "starts from no checkpoint", True),
    ],
)
def test_a_base_that_cannot_be_scored_is_said_and_the_search_goes_through_its_trials(
    third_skill, tmp_path, facts, why, is_noted
):
    with_evaluation(third_skill, **facts)
    (tmp_path / "eval").mkdir()
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    run, overrides = tmp_path / "run", {"base": str(tmp_path / "base")} if facts.get("reads_models", True) else {}
    data = {"eval": str(tmp_path / "eval")}
    _, search = run_search(run, {**overrides, "train.epoch": 3}, data, max_trials=2, parallel=2)
    assert len(search.storage.entries()) == 2
    assert any("not scored before the search" in note for note in search.study.notes) is is_noted
    summary = read_json_file(run / "metrics_summary.json")
    assert why in summary["not_computed"]["baseline"]
    assert summary["metrics"]["best/accuracy"] == 0.75
    assert summary["not_computed"]["delta/accuracy"] == "the base has no score"
    assert why in (run / "report.html").read_text()
