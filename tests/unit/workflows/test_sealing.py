"""A workflow is sealed with what can be planned now; what is beyond its limits is refused."""

import json

import pytest
from workflow_runs import EVALUATE, TRAIN, run, sealed_in, two_steps, write

from tao_skill_bank.errors import BlockedError, ConflictError, RequestError
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.workflows import files, log, running, sealing

pytestmark = pytest.mark.usefixtures("third_skill")


def test_steps_are_planned_now_or_later_and_nothing_is_written(tmp_path):
    document = two_steps()
    document["steps"].append(
        {"name": "never", "when": {"value": "epochs", "op": ">", "constant": 9}, "request": EVALUATE}
    )
    sealed = sealed_in(tmp_path, document, epochs=3)
    assert [(each.step, each.state) for each in sealed.steps] == [
        ("training", "planned"), ("scoring", "later"), ("never", "skipped"),
    ]  # fmt: skip
    assert sealed.steps[0].plan.job.spec["train"]["epoch"] == 3
    assert "needs the job of 'training'" in sealing.later(sealed)[0].message
    assert not (tmp_path / "run").exists()
    assert JobStore().all() == []


def test_a_sealed_workflow_runs_the_plan_that_was_approved(tmp_path):
    sealed = sealed_in(tmp_path)
    path = tmp_path / "sealed.json"
    path.write_text(sealing.text(sealed))
    finished = running.start(sealing.read(path))
    started = next(event for event in finished.history.events if event.step == "training")
    assert (started.job, started.sha256) == (sealed.steps[0].plan.job.id, sealed.steps[0].plan.sha256)


def test_a_sealed_workflow_that_was_edited_is_refused(tmp_path):
    path = tmp_path / "sealed.json"
    path.write_text(sealing.text(sealed_in(tmp_path)).replace('"epochs": 2', '"epochs": 3'))
    with pytest.raises(ConflictError, match="edited after it was sealed"):
        sealing.read(path)
    path.write_text("[]")
    with pytest.raises(RequestError, match="is not a sealed workflow"):
        sealing.read(path)


def test_inputs_are_checked_all_at_once(tmp_path):
    document = two_steps(
        inputs={
            "epochs": {"type": "integer"},
            "data": {"type": "path", "required": True, "description": "the data"},
            "mode": {"type": "choice", "choices": ["a", "b"]},
            "rate": {"type": "number"},
            "flag": {"type": "boolean"},
        }
    )
    given = {"epochs": "1.5", "mode": "c", "rate": "nan", "flag": "yes", "dta": "x"}
    with pytest.raises(RequestError) as caught:
        sealing.plan(files.load(str(write(tmp_path, document))), given)
    codes = [problem.code for problem in caught.value.problems]
    assert sorted(codes) == ["input_invalid"] * 4 + ["input_missing", "input_unknown"]
    assert "the data" in str(caught.value)


def test_a_path_is_looked_for_next_to_the_workflow_file(tmp_path):
    document = two_steps(
        inputs={"epochs": {"type": "integer", "default": 1}, "data": {"type": "path", "default": "clips"}}
    )
    (tmp_path / "clips").mkdir()
    assert sealed_in(tmp_path, document).inputs["data"] == str(tmp_path / "clips")


def test_every_refused_request_is_named_with_its_step(tmp_path):
    document = two_steps()
    for name in ("one", "two"):
        request = {**TRAIN, "overrides": {"train.epoch": "$epochs"}}
        document["steps"].append({"name": name, "request": request})
    with pytest.raises(RequestError) as caught:
        sealed_in(tmp_path, document, epochs=0)
    said = [problem.message for problem in caught.value.problems]
    assert [text.split(":")[0] for text in said] == ["Step 'training'", "Step 'one'", "Step 'two'"]


def test_a_host_that_is_not_listed_is_refused_when_the_step_is_sealed(tmp_path):
    document = two_steps()
    document["steps"][0]["request"] = {**TRAIN, "overrides": {"base": "https://models.example.com/x"}}
    with pytest.raises(BlockedError, match=r"sends data to models\.example\.com") as caught:
        sealed_in(tmp_path, document)
    assert caught.value.exit_code == 3
    document["limits"] = {"hosts": ["models.example.com"]}
    assert sealed_in(tmp_path, document).limits.hosts == ("models.example.com",)
    document["limits"] = {}
    document["steps"][0]["request"]["overrides"]["base"] = "http://127.0.0.1:8000/v1"
    assert sealed_in(tmp_path, document).steps[0].state == "planned"


def test_a_loop_that_may_run_more_often_than_the_limit_is_refused(tmp_path):
    steps = [{"name": "rounds", "repeat": {"at_most": "$epochs", "steps": [{"name": "training", "request": TRAIN}]}}]
    with pytest.raises(RequestError, match=r"may run 4 times; limits\.iterations is 3"):
        sealed_in(tmp_path, two_steps(limits={"iterations": 3}, steps=steps), epochs=4)


def test_a_step_after_the_hours_are_spent_is_refused_and_its_job_is_not_launched(tmp_path):
    with pytest.raises(BlockedError, match="beyond the limit of 1e-06 GPU hours") as caught:
        run(tmp_path, two_steps(limits={"gpu_hours": 1e-6}))
    assert caught.value.problems[0].code == "limit_gpu_hours"
    assert len(JobStore().all()) == 1


def test_a_job_that_runs_beyond_the_hours_is_stopped(tmp_path):
    document = two_steps(limits={"gpu_hours": 0.0005})
    document["steps"][0]["request"] = {**TRAIN, "overrides": {"train.gate": str(tmp_path / "never")}}
    with pytest.raises(BlockedError, match="are spent"):
        run(tmp_path, document)
    assert [record.state for record in JobStore().all()] == ["CANCELED"]


def test_a_log_line_that_is_torn_is_ignored_and_the_next_one_is_whole(tmp_path):
    log.append(tmp_path, log.Event("a", "started"))
    with (tmp_path / log.FILE).open("a") as file:
        file.write('{"step": "b", "sta')
    log.append(tmp_path, log.Event("c", "ok"))
    read = log.read(tmp_path)
    assert ([event.step for event in read.events], read.ignored) == (["a", "c"], (2,))
    first, torn, third = (tmp_path / log.FILE).read_text().splitlines()
    assert (json.loads(first)["step"], torn, json.loads(third)["step"]) == ("a", '{"step": "b", "sta', "c")
