"""The search as the command line offers it, with a skill whose trainings take milliseconds."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from tao_skill_bank.automl.run.trials import open_search
from tao_skill_bank.cli.main import app
from tao_skill_bank.contracts import JobStatus, State
from tao_skill_bank.core import yaml12
from tao_skill_bank.jobs.store import JobStore

pytestmark = pytest.mark.usefixtures("third_skill")


def answer(*words: object, code: int = 0) -> dict[str, Any]:
    """Return the JSON document of a command that ends with a code."""
    command = [sys.executable, "-m", "tao_skill_bank", *map(str, words), "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == code, finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
    document: dict[str, Any] = json.loads(finished.stdout)
    return document


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "kind"),
    [((), "automl"), (("--say", "Tune it"), "automl"), (("--say", "no HPO"), "direct")],
    ids=["silence", "tune it", "no HPO"],
)
def test_words_and_silence_decide_whether_a_plan_holds_a_search(words: tuple[str, ...], kind: str) -> None:
    document = answer("plan", "toy", "train", *words)
    assert document["route"]["kind"] == kind
    if kind == "direct":
        assert "search" not in document
        return
    search = document["search"]
    assert (search["algorithm"], search["metric"]) == ("bayesian", "val/avg_loss, minimize")
    assert search["budget"] == {"trials": 10}
    assert "0.0001 to 0.01, logarithmic" in search["keys"].values()
    assert document["estimate"]["how"]


@pytest.mark.slow
def test_people_see_what_is_searched_before_anything_starts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tao_skill_bank", "plan", "toy", "train", "--automl", "max_trials=7"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert "tao-skill-bank:tao-run-automl" in shown
    assert "0.0001 to 0.01, logarithmic" in shown
    assert "7 trials, 1 at once" in shown
    assert "results/<job id>" in shown  # the plan is not written, so `run` makes another id
    assert re.search(r"toy-train-[0-9a-f]{12}", shown) is None
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def parent(tmp_path: Path) -> str:
    """The id of a finished training of two epochs."""
    words = ("--set", "train.epoch=2", "--automl-policy", "off", "--results-dir", tmp_path / "parent")
    return str(answer("run", "toy", "train", *words)["job_id"])


@pytest.mark.slow
def test_a_request_reaches_every_trial_unchanged_but_for_what_the_trial_tries(tmp_path: Path, parent: str) -> None:
    run = tmp_path / "run"
    document = answer(
        *("run", "toy", "train", "--say", "tune it", "--parent", parent, "--checkpoint", "epoch_1"),
        *("--results-dir", run, "--set", "train.epoch=4", "--set", "lora.r=32", "--option", "grace_seconds=3"),
        *("--automl", "max_trials=3"),
    )
    assert document["state"] == "COMPLETE"
    found = open_search(run)
    requests = [json.loads((found.folder(number) / "request.json").read_text()) for number in range(3)]
    for number, request in enumerate(requests):
        assert (request["parent_job_id"], request["checkpoint"]) == (parent, "epoch_1")
        assert request["platform"]["options"] == {"grace_seconds": 3}
        assert request["results_dir"] == str(found.folder(number))
        assert (request["overrides"]["train.epoch"], request["overrides"]["lora.r"]) == (4, 32)
        epochs = [
            json.loads(line)["epoch"] for line in (found.folder(number) / "metrics.jsonl").read_text().splitlines()
        ]
        assert epochs == [2, 3, 4], "it resumes from the parent's first epoch"
    assert set(requests[0]["overrides"]) == {"train.epoch", "lora.r"}, "the recipe's trial tries nothing"
    tried = {tuple(sorted(request["overrides"].items())) for request in requests}
    assert len(tried) == 3


@pytest.mark.slow
def test_what_a_search_hands_on_can_be_run_and_gone_on_from(tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = answer("automl", "run", "toy", "train", "--results-dir", run, "--say", "no HPO", "--automl", "max_trials=4")
    job = ended["job_id"]
    assert ended["next"] == [f"tao-skills automl best {job}"]
    shown = answer("automl", "status", job)
    assert (shown["ended"], len(shown["trials"]), shown["metric"]) == (4, 4, "val/avg_loss")
    best = answer("automl", "best", job)
    assert best["next"] == [f"tao-skills run --request {run / 'best_request.yaml'}"]
    again = answer("run", "--request", best["request"], "--results-dir", tmp_path / "again")
    assert again["state"] == "COMPLETE"
    assert again["result"]["metrics"]["val/avg_loss"] == pytest.approx(best["score"])
    words = ("--parent", job, "--set", "train.epoch=6", "--automl-policy", "off", "--results-dir", tmp_path / "further")
    answer("run", "toy", "train", *words)
    lines = (tmp_path / "further" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [5, 6]
    plan = json.loads((tmp_path / "further" / "plan.json").read_text())
    assert plan["job"]["spec"]["train"]["resume"] == f"{best['results_dir']}/checkpoints/epoch_4"


@pytest.mark.slow
def test_a_request_file_says_the_same_as_the_options(tmp_path: Path) -> None:
    request = tmp_path / "request.yaml"
    automl = {"algorithm": "asha", "max_trials": 9, "ranges": {"lora.r": {"choices": [4, 8]}}}
    request.write_text(yaml12.render({"skill": "toy", "action": "train", "automl": automl}))
    study = answer("plan", "--request", request, "--automl", "max_trials=5", "--full")["study"]
    assert (study["options"]["algorithm"], study["options"]["max_trials"]) == ("asha", 5)
    (ranks,) = [each for each in study["space"]["dimensions"] if each["name"] == "lora.r"]
    assert ranks["choices"] == [4, 8]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "code", "path", "words"),
    [
        (["algoritm=asha"], "unknown_option", "automl.algoritm", "Did you mean 'algorithm'?"),
        (["algorithm=bayesain"], "unknown_algorithm", "automl.algorithm", "Did you mean 'bayesian'?"),
        (["algorithm=dehb"], "algorithm_refused", "", "DEHB"),
        (["parameters=[lora.rr]"], "unknown_parameter", "automl.parameters", "Did you mean lora.r?"),
        (["add=[train.metric]"], "not_searchable", "automl.add", "disables it"),
        (["ranges={lora.r: {maximum: 1024}}"], "range_outside_schema", "automl.ranges.lora.r", "1024"),
        (["ranges={lora.r: {minimum: 8, maximum: 4}}"], "bounds_reversed", "automl.ranges.lora.r", "above"),
        (["max_trials=0"], "too_small", "automl.max_trials", "at least 1"),
        (["max_hours=0"], "no_budget", "automl.max_hours", "no trial"),
        (["max_gpu_hours=-1"], "no_budget", "automl.max_gpu_hours", "no trial"),
        (["metric=evaluate:accuracy"], "missing_direction", "automl.direction", "better"),
        (["algorithm=llm"], "missing_endpoint", "automl.endpoint", "no endpoint"),
        (["storage=sqlite:///x.db"], "unknown_storage", "automl.storage", "only PostgreSQL"),
    ],
)
def test_a_mistake_in_the_options_is_one_error_and_nothing_starts(
    tmp_path: Path, state_dir: Path, options: list[str], code: str, path: str, words: str
) -> None:
    spelled = [word for option in options for word in ("--automl", option)]
    document = answer("run", "toy", "train", *spelled, "--results-dir", tmp_path / "run", code=2)
    (error,) = document["errors"]
    assert (error["code"], error["path"]) == (code, path)
    assert words in error["message"]
    assert error["fix"]
    assert not (tmp_path / "run").exists()
    assert not (state_dir / "jobs").exists()


@pytest.mark.slow
def test_every_mistake_is_reported_at_once() -> None:
    words = ("--automl", "algorithm=tpee", "--automl", "max_trials=0", "--automl", "max_hours=0")
    document = answer("validate", "toy", "train", *words, code=2)
    assert [error["code"] for error in document["errors"]] == ["unknown_algorithm", "too_small", "no_budget"]


@pytest.mark.slow
def test_the_folder_of_another_request_is_left_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    answer("run", "toy", "train", "--results-dir", run, "--automl", "max_trials=1")
    jobs, study = len(JobStore().all()), (run / "study.db").read_bytes()
    document = answer(
        "run", "toy", "train", "--results-dir", run, "--automl", "max_trials=1", "--automl", "seed=1", code=7
    )
    (error,) = document["errors"]
    assert str(run) in error["message"]
    assert (len(JobStore().all()), (run / "study.db").read_bytes()) == (jobs, study)


@pytest.mark.slow
def test_search_options_beside_a_plain_training_are_said_to_be_unused() -> None:
    document = answer("plan", "toy", "train", "--say", "no HPO", "--automl", "max_trials=3")
    assert [found["code"] for found in document["findings"] if found["path"] == "automl"] == ["automl_ignored"]


@pytest.mark.slow
def test_what_is_no_search_cannot_be_run_or_asked_as_one(tmp_path: Path, parent: str) -> None:
    words = ("automl", "run", "tao-finetune-cosmos-reason", "evaluate", "--eval", "d", "--option", "device=cpu")
    model = ("--set", "model.model_name=builtin://tiny-cosmos-reason", "--results-dir", tmp_path / "run")
    (error,) = answer(*words, *model, code=2)["errors"]
    assert (error["code"], (tmp_path / "run").exists()) == ("no_search", False)
    for verb in ("status", "best", "resume", "report"):
        assert answer("automl", verb, parent, code=2)["errors"][0]["code"] == "no_search"
        assert answer("automl", verb, "toy-train-000000000000", code=5)["errors"]


@pytest.mark.slow
def test_a_detached_search_is_stopped_gone_on_with_and_has_a_best_trial_at_last(tmp_path: Path) -> None:
    slow = ("--set", "train.seconds_per_epoch=0.5", "--automl", "max_trials=2", "--results-dir", tmp_path / "run")
    job = answer("run", "toy", "train", *slow, "--detach")["job_id"]
    assert answer("run", "toy", "train", "--parent", job, code=5)["errors"][0]["code"] == "no_best_trial"
    answer("cancel", job)
    assert answer("watch", job, code=8)["next"] == [f"tao-skills automl resume {job}"]
    ended = answer("automl", "resume", job)
    assert ended["state"] == "COMPLETE"
    assert (tmp_path / "run" / "best_trial" / "plan.json").is_file()


@pytest.mark.parametrize(("state", "verb"), [(State.ERROR, "diagnose"), (State.RUNNING, "watch")])
def test_a_search_without_a_score_names_what_leads_on(monkeypatch, state: State, verb: str) -> None:
    search = SimpleNamespace(storage=SimpleNamespace(entries=list), plan=SimpleNamespace(job=SimpleNamespace(id="a")))
    monkeypatch.setattr("tao_skill_bank.cli.automl_commands._search", lambda _: search)
    monkeypatch.setattr("tao_skill_bank.jobs.service.status", lambda job_id: JobStatus(job_id, state))
    (problem,) = CliRunner().invoke(app, ["automl", "best", "a"]).exception.problems
    assert problem.fix.endswith(f"tao-skills {verb} a")
