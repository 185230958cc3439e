"""What a release with plans of version 1 left behind is served as if it had been made now.

Its run directories and records stay readable, can be resumed and handed on; its sealed plans are not run.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import version_1

from tao_skill_bank.cli.main import main
from tao_skill_bank.contracts import Plan
from tao_skill_bank.core import nested
from tao_skill_bank.staging import fetch

Answer = Callable[..., dict[str, Any]]
PROJECT = Path(__file__).parents[2]
REASON, PREDICT = "tao-finetune-cosmos-reason", "tao-finetune-cosmos-predict"
ENDS = dict.fromkeys(version_1.RUNS, "COMPLETE") | {"reason_interrupted": "ERROR", "reason_lost": "ERROR"}
# training or generation -> the action that takes its checkpoint, and the folder of the run that it takes
CHILDREN = {
    "reason_train": (REASON, "evaluate", "best"),
    "search": (REASON, "evaluate", "best_trial/best"),
    "predict_train": (PREDICT, "generate", "best"),
    "predict_generate": (PREDICT, "evaluate", ""),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    reason = fetch.fetch("builtin://tiny-cosmos-reason", shared / "builtin" / "tiny-cosmos-reason")
    return version_1.make_models(tmp_path_factory.mktemp("models"), reason)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> version_1.Installed:
    """The fixtures on this machine, as far as commands only read them."""
    return _installed(tmp_path, monkeypatch, None)


@pytest.fixture
def trainable(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> version_1.Installed:
    """The fixtures with the models that they train."""
    return _installed(tmp_path, monkeypatch, models)


def _installed(folder: Path, monkeypatch: pytest.MonkeyPatch, models: Path | None) -> version_1.Installed:
    installed = version_1.install(folder / "version_1", models)
    here = folder / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("TAO_STATE_DIR", str(installed.state_dir))
    return installed


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Answer:
    """Return the JSON document of a command that ends with a code."""

    def call(*words: object, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words), "--json"])
        shown = capsys.readouterr()
        assert (ended.value.code, "Traceback" in shown.err) == (code, False), shown.out + shown.err
        document: dict[str, Any] = json.loads(shown.out)
        return document

    return call


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- reading ------------------------------------------------------------------------------------------------------


def test_the_fixtures_are_of_version_1_and_name_no_machine() -> None:
    plans = [*version_1.FIXTURES.glob("plans/*.json"), *version_1.FIXTURES.glob("runs/**/plan.json")]
    assert {version_1.document(path)["schema_version"] for path in plans} == {1}
    assert Plan.schema_version == 2
    files = [path for path in version_1.FIXTURES.rglob("*") if path.is_file() and path.suffix != ".py"]
    assert max(path.stat().st_size for path in files) < 300_000
    assert sum(path.stat().st_size for path in files) < 3_000_000
    for path in files:
        assert not any(name in path.read_bytes() for name in (b"/home/", b"/tmp/", b"/root", b"site-packages/tao_")), (
            path
        )


def test_jobs_lists_every_record(made: version_1.Installed, answer: Answer) -> None:
    states = {job["id"]: state_of(job) for job in answer("jobs", "--full", "--limit", "0")["jobs"]}
    assert len(states) == len(list(made.state_dir.glob("jobs/*.json")))
    assert {name: states[made.job(name)] for name in version_1.RUNS} == ENDS


def state_of(record: dict[str, Any]) -> str:
    return str(record["transitions"][-1]["state"])


@pytest.mark.parametrize("name", version_1.RUNS)
def test_status_and_logs_answer_from_the_run_directory(name: str, made: version_1.Installed, answer: Answer) -> None:
    job, run = made.job(name), made.run(name)
    status = answer("status", job)
    assert (status["state"], status["progress"]) == (ENDS[name], lines(run / "status.jsonl")[-1])
    log = (run / "logs" / "job.log").read_text(encoding="utf-8").splitlines()
    assert answer("logs", job)["lines"] == log
    assert log or name == "predict_prepare", "only a preparation has nothing to say"


@pytest.mark.parametrize("name", version_1.RUNS)
def test_watch_reports_the_end_and_what_to_do_next(name: str, made: version_1.Installed, answer: Answer) -> None:
    job, is_complete = made.job(name), ENDS[name] == "COMPLETE"
    ended = answer("watch", job, code=0 if is_complete else 8)
    verb = "report" if is_complete else "retry"
    assert ended["next"] == [f"tao-skills {'automl best' if name == 'search' else verb} {job}"]
    kept = version_1.document(made.run(name) / "result.json")
    assert {key: ended["result"][key] for key in ("job_id", "action", "model", "steps", "metrics")} == {
        key: kept[key] for key in ("job_id", "action", "model", "steps", "metrics")
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", version_1.RUNS)
def test_a_report_shows_the_hash_that_the_record_has(name: str, made: version_1.Installed, answer: Answer) -> None:
    job = made.job(name)
    page = Path(answer("report", job)["report"]).read_text(encoding="utf-8")
    assert job in page
    if name != "search":
        assert made.record(job)["plan_sha256"] in page


@pytest.mark.parametrize("name", version_1.RUNS)
def test_diagnose_names_the_command_that_resumes_what_ended_early(
    name: str, made: version_1.Installed, answer: Answer
) -> None:
    job = made.job(name)
    found = answer("diagnose", job)["diagnoses"]
    if ENDS[name] == "COMPLETE":
        assert [each["code"] for each in found] == ["no_failure"]
    else:
        assert f"tao-skills retry {job}" in found[0]["cure"] or "train.resume=true" in found[0]["cure"]


@pytest.mark.parametrize("name", version_1.RUNS)
def test_cancel_refuses_what_has_ended_and_changes_nothing(
    name: str, made: version_1.Installed, answer: Answer
) -> None:
    job = made.job(name)
    before = made.record(job)
    (problem,) = answer("cancel", job, code=7)["errors"]
    assert problem["code"] == "terminal_job"
    assert made.record(job) == before


@pytest.mark.slow
def test_the_gaps_of_an_evaluation_are_found(made: version_1.Installed, tmp_path: Path) -> None:
    script = PROJECT / "skills" / REASON / "scripts" / "analyze_gaps.py"
    run, gaps = made.run("reason_evaluate"), tmp_path / "gaps.parquet"
    words = [sys.executable, str(script), "--results-dir", str(run), "--gaps-parquet", str(gaps)]
    subprocess.run(words, check=True, capture_output=True, text=True)
    from pyarrow import parquet

    answers = json.loads((run / "results.json").read_text(encoding="utf-8"))
    wrong = [each for each in answers if each["response"].strip().lower() != each["gt"].strip().lower()]
    rows = parquet.read_table(gaps).to_pylist()
    assert [row["question"] for row in rows] == [each["question"] for each in wrong]
    assert all(Path(row["video_id"]).is_file() for row in rows)


def test_a_search_shows_its_trials_and_hands_the_best_one_on(made: version_1.Installed, answer: Answer) -> None:
    job = made.job("search")
    shown = answer("automl", "status", job)
    assert (shown["ended"], len(shown["trials"])) == (2, 2)
    best = answer("automl", "best", job)
    assert best["score"] == min(trial["score"] for trial in shown["trials"])
    assert Path(best["results_dir"]) == (made.run("search") / "best_trial").resolve()
    for trial in shown["trials"]:
        assert len(trial["jobs"]) == 1
        assert answer("status", trial["jobs"][0])["state"] == "COMPLETE"
    (problem,) = answer("automl", "resume", job, code=7)["errors"]
    assert problem["code"] == "search_is_over"


# --- resuming ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", CHILDREN)
def test_a_job_of_version_1_is_a_parent(name: str, trainable: version_1.Installed, answer: Answer) -> None:
    skill, action, taken = CHILDREN[name]
    split = {"evaluate": "reference" if skill == PREDICT else "test", "generate": "test"}[action]
    data = trainable.root / "data" / ("vlm" if skill == REASON else "robot") / split
    small = ("--set", "metrics=[sampson]") if (skill, action) == (PREDICT, "evaluate") else ()
    words = (skill, action, "--parent", trainable.job(name), "--eval", data, *small)
    planned = answer("plan", *words, "--full")
    wanted = (trainable.run(name) / taken).resolve()
    assert str(wanted) in json.dumps(planned["spec"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reason_train", "predict_train"])
def test_a_training_of_version_1_trains_one_more_epoch(
    name: str, trainable: version_1.Installed, answer: Answer
) -> None:
    run, first = trainable.run(name), trainable.job(name)
    before = lines(run / "metrics.jsonl")
    more = ("--set", "train.resume=true", "--set", "train.epoch=2")
    ended = answer("run", "--request", run / "request.json", *more)
    assert ended["state"] == "COMPLETE"
    assert version_1.document(run / "plan.json")["schema_version"] == Plan.schema_version
    after = lines(run / "metrics.jsonl")
    assert after[: len(before)] == before
    steps = [line["step"] for line in after if "train/loss_avg" in line]
    assert steps == list(range(1, 2 * len([line for line in before if "train/loss_avg" in line]) + 1))
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"epoch_1", "epoch_2"}
    assert answer("status", first)["state"] == "COMPLETE"
    assert version_1.document(run / "logs" / f"{first}.plan.json")["schema_version"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reason_lost", "reason_interrupted"])
def test_a_retry_of_a_job_of_version_1_resumes_from_its_newest_checkpoint(
    name: str, trainable: version_1.Installed, answer: Answer
) -> None:
    run, first = trainable.run(name), trainable.job(name)
    before = trainable.record(first)
    ended = answer("retry", first)
    assert (ended["state"], ended["job_id"] != first) == ("COMPLETE", True)
    record = trainable.record(ended["job_id"])
    assert (record["retry_of"], record["results_dir"]) == (first, str(run))
    assert trainable.record(first) == before
    (problem,) = answer("retry", first, code=7)["errors"]
    assert (problem["code"], problem["fix"]) == ("retried_already", f"tao-skills status {ended['job_id']}")
    spec = version_1.document(run / "plan.json")["job"]["spec"]
    steps = [line["step"] for line in lines(run / "metrics.jsonl") if "train/loss_avg" in line]
    assert (spec["train"]["resume"], steps[-1]) == (True, 3 * spec["train"]["epoch"])
    assert answer("status", first)["state"] == "ERROR"


# --- sealed plans -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", version_1.PLANS)
def test_a_sealed_plan_of_version_1_is_refused_with_the_command_that_plans_it_again(
    name: str, made: version_1.Installed, answer: Answer
) -> None:
    path = made.plan(name)
    records = sorted(made.state_dir.glob("jobs/*.json"))
    (problem,) = answer("run", "--plan", path, code=7)["errors"]
    assert (problem["code"], problem["got"], problem["expected"]) == ("plan_version", 1, Plan.schema_version)
    assert str(path) in problem["message"]
    words = shlex.split(problem["fix"].removeprefix("Plan the request again: "))
    assert words[:2] == ["tao-skills", "plan"]
    assert words[-2:] == ["--out", str(path)]
    assert sorted(made.state_dir.glob("jobs/*.json")) == records, "nothing was launched"


def test_the_plan_of_a_run_directory_is_refused_and_stays(made: version_1.Installed, answer: Answer) -> None:
    path = made.run("reason_train") / "plan.json"
    (problem,) = answer("run", "--plan", path, code=7)["errors"]
    assert problem["fix"].endswith(" --out plan.json")


@pytest.mark.slow
def test_the_command_of_the_refusal_plans_the_same_request(trainable: version_1.Installed, answer: Answer) -> None:
    for name in ("reason_train_direct", "reason_train_automl", "reason_train_slurm"):
        path = trainable.plan(name)
        old = version_1.document(path)
        (problem,) = answer("run", "--plan", path, code=7)["errors"]
        planned = answer(*shlex.split(problem["fix"].removeprefix("Plan the request again: "))[1:])
        new = version_1.document(path)
        assert new["schema_version"] == Plan.schema_version
        assert planned["next"] == [f"tao-skills run --plan {path}"]
        assert {key: new["request"][key] for key in old["request"]} == old["request"]
        before, now = (dict(nested.flatten(plan["job"]["spec"])) for plan in (old, new))
        assert {path: now.get(path) for path in before} == before
        defaults = dict(nested.flatten(answer("template", REASON, "train")["template"]))
        assert all(value == defaults[path] for path, value in now.items() if path not in before), "keys added since"
        assert new["route"]["kind"] == old["route"]["kind"]
