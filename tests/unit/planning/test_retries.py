"""Jobs that a machine ended and that run again: real jobs of a skill that nothing here names."""

import json
import shlex
import time
from dataclasses import replace
from pathlib import Path

import pytest
from runs import eventually
from typer.testing import CliRunner

from tao_skill_bank import platforms
from tao_skill_bank.cli.main import app, main
from tao_skill_bank.contracts import Finding, Request, State
from tao_skill_bank.errors import ConflictError, UnknownNameError
from tao_skill_bank.jobs import diagnose, service
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.planning import dispatch, retries
from tao_skill_bank.platforms import processes
from tao_skill_bank.runs import plan_versions
from tao_skill_bank.runs.run_directory import json_lines

pytestmark = pytest.mark.usefixtures("third_skill")


def launch(run: Path, **overrides: object) -> service.JobHandle:
    values = {"train.seconds_per_epoch": 0.3, **overrides}
    return dispatch.run(
        dispatch.plan(Request("toy", "train", overrides=values, automl_policy="off", results_dir=str(run)))
    )


def epochs_of(run: Path) -> list[int]:
    return [int(line["epoch"]) for line in json_lines(run / "metrics.jsonl")]


def lose_machine(job_id: str) -> None:
    """End every process of a job at once, as a machine that goes down does."""
    for process in processes.of_job(job_id):
        process.kill()
    while processes.of_job(job_id):
        time.sleep(0.01)


def lost(run: Path, **overrides: object) -> service.JobHandle:
    """Return a job whose machine went down after its first epoch; its retries are not held."""
    gate = run.with_suffix(".gate")
    handle = launch(run, **{"train.seconds_per_epoch": 0.0, "train.gate": str(gate), **overrides})
    eventually((run / "checkpoints" / "epoch_1").is_dir)
    lose_machine(handle.id)
    gate.touch()
    assert handle.wait(30).err_class == "ERR_INFRA"
    return handle


def test_a_lost_training_goes_on_as_a_new_job_and_trains_no_epoch_twice(tmp_path):
    first = lost(tmp_path / "run")
    again = retries.retry(first.id)
    assert again.wait(60).state is State.COMPLETE
    assert (again.record.retry_of, again.run_directory.path) == (first.id, tmp_path / "run")
    assert first.record.state is State.ERROR
    assert epochs_of(tmp_path / "run") == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_retry_of_a_job_with_remote_results_goes_on_there(store, tmp_path):
    values = {"train.seconds_per_epoch": 0.3}
    request = Request("toy", "train", overrides=values, automl_policy="off", results_dir="s3://lab/runs/toy")
    first = dispatch.run(dispatch.plan(request))
    run = first.run_directory.path
    eventually(lambda: (run / "checkpoints").is_dir() and epochs_of(run))
    lose_machine(first.id)
    assert first.wait(30).upload == "incomplete"
    again = retries.retry(first.id)
    status = again.wait(60)
    assert (status.state, status.upload) == (State.COMPLETE, "complete")
    assert (again.record.results_uri, again.run_directory.path) == ("s3://lab/runs/toy", run)
    assert json.loads(store.body("runs/toy/upload.json"))["job_id"] == again.id
    assert epochs_of(run) == [1, 2, 3, 4]


def test_a_retry_replaces_platform_options_and_nothing_else(tmp_path):
    first = lost(tmp_path / "run")
    again = retries.retry(first.id, {"grace_seconds": 7})
    again.wait(60)
    request = service.JobHandle(again.id).run_directory.request_file.read_text()
    assert '"grace_seconds": 7' in request
    assert f'"train.gate": "{tmp_path / "run.gate"}"' in request


def test_a_job_is_retried_once(tmp_path):
    first = lost(tmp_path / "run")
    again = retries.retry(first.id)
    again.wait(60)
    with pytest.raises(ConflictError) as error:
        retries.retry(first.id)
    assert error.value.problems[0].fix == f"tao-skills status {again.id}"


def test_a_retry_that_was_cancelled_is_no_end(tmp_path):
    gate = tmp_path / "gate"
    first = lost(tmp_path / "run", **{"train.gate": str(gate)})
    second = retries.retry(first.id)
    second.cancel()
    gate.touch()
    third = retries.retry(first.id)
    assert third.wait(60).state is State.COMPLETE
    assert third.record.retry_of == first.id
    assert epochs_of(tmp_path / "run") == [1, 2, 3, 4]


def test_what_a_machine_ended_is_diagnosed_with_the_command_that_goes_on(tmp_path):
    first = lost(tmp_path / "run")
    (found,) = diagnose.diagnose(first.id)
    assert (found.code, found.cure) == ("machine_lost", f"Resume it with: tao-skills retry {first.id}")


def test_what_the_program_itself_ended_is_not_retried(tmp_path):
    done = launch(tmp_path / "run", **{"train.seconds_per_epoch": 0.0})
    done.wait(60)
    with pytest.raises(ConflictError) as error:
        retries.retry(done.id)
    assert (error.value.exit_code, error.value.problems[0].code) == (7, "not_retryable")
    assert len(JobStore().all()) == 1


def test_ten_retries_are_enough(tmp_path, monkeypatch):
    first = lost(tmp_path / "run")
    monkeypatch.setattr(retries, "MAX_RETRIES", 0)
    with pytest.raises(ConflictError, match="retry 0 of its request"):
        retries.retry(first.id)


def test_pauses_grow_and_end():
    assert [retries.pause_seconds(number) for number in (1, 2, 3, 10)] == [5, 10, 20, 300]


def test_an_unknown_job_is_unknown():
    with pytest.raises(UnknownNameError):
        retries.retry("toy-train-000000000000")


def test_the_command_follows_the_retry_and_names_it(tmp_path):
    first = lost(tmp_path / "run")
    told = CliRunner().invoke(app, ["retry", first.id])
    assert told.exit_code == 0, told.output
    assert "COMPLETE" in told.stdout


def test_retries_without_a_watching_process_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "toy", "train", "--detach", "--retries", "2", "--results-dir", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert "tao-skills retry JOB" in capsys.readouterr().err


class Losing:
    """The platform local, on which node n2 failed."""

    def __init__(self, platform, found):
        self.platform, self.found = platform, found

    def __getattr__(self, name):
        return getattr(self.platform, name)

    def avoiding(self, _record, _job):
        return self.found


PLACED = [
    ({}, False, "n2"),
    ({}, True, "none"),  # too few nodes are left
    ({"grace_seconds": 9}, False, "n2"),
    ({"exclude": "n7"}, False, "n7"),  # the user's word
]


def test_a_retry_is_sealed_without_the_nodes_that_failed_where_it_can_run_without(tmp_path, monkeypatch):
    first = lost(tmp_path / "run")
    launched = plan_versions.read_launched(first.run_directory.plan_file)
    platform = Losing(platforms.load("local"), {"exclude": "n2"})
    monkeypatch.setattr(platforms, "load", lambda _: platform)
    monkeypatch.setattr(retries.dispatch, "run", lambda sealed, retry_of: (sealed, retry_of))
    for options, blocks, used in PLACED:

        def plan(request, notes=(), blocks=blocks):
            is_short = blocks and request.platform.options.get("exclude") == "n2"
            blocked = [Finding("no_such_nodes", "blocking", "Too few nodes.", "Wait.")] if is_short else []
            return replace(launched, request=request, findings=(*notes, *blocked))

        monkeypatch.setattr(retries.dispatch, "plan", plan)
        sealed, retry_of = retries.retry(first.id, options)
        assert (sealed.request.platform.options.get("exclude", "none"), retry_of) == (used, first.id)
        assert [found.code for found in sealed.findings] == (["nodes_avoided"] if used == "n2" else [])


def test_an_unexplained_kill_is_retried_once_and_then_names_what_leads_on(tmp_path):
    first = lost(tmp_path / "run", **{"train.seconds_per_epoch": 0.3})
    assert first.record.is_unexplained
    assert retries.may_retry(first.record)
    second = retries.retry(first.id)
    eventually(lambda: second.run_directory.last_status().get("state") == "RUNNING")
    lose_machine(second.id)
    assert second.wait(30).is_unexplained
    assert not retries.may_retry(second.record)
    with pytest.raises(ConflictError) as error:
        retries.retry(second.id)
    (problem,) = error.value.problems
    assert problem.code == "killed_again"
    assert f"tao-skills diagnose {second.id}" in problem.fix
    (found,) = diagnose.diagnose(second.id)
    resumes = found.cure.partition("tao-skills ")[2]
    assert resumes in problem.fix
    shown = CliRunner().invoke(app, shlex.split(resumes))
    assert shown.exit_code == 0, shown.output
    assert epochs_of(tmp_path / "run")[-1] == 4


def test_an_explained_loss_is_retried_after_an_unexplained_one(tmp_path, monkeypatch):
    first = lost(tmp_path / "run", **{"train.seconds_per_epoch": 0.3})
    second = retries.retry(first.id)
    eventually(lambda: second.run_directory.last_status().get("state") == "RUNNING")
    lose_machine(second.id)
    monkeypatch.setattr("psutil.boot_time", time.time)
    now = second.wait(30)
    assert (now.err_class, now.is_unexplained) == ("ERR_INFRA", False)
    assert "restarted" in now.message
    assert retries.may_retry(second.record)
