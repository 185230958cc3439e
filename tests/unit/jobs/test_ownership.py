"""Records of a machine that was renamed, of another one, and of an engine that is gone."""

import os
import time
from dataclasses import replace

import pytest
from runs import SUCCESS, make_job, make_plan, make_record, pid_in
from typer.testing import CliRunner

from tao_skill_bank.cli.main import app
from tao_skill_bank.contracts import State
from tao_skill_bank.errors import BackendError, ConflictError
from tao_skill_bank.jobs import diagnose, ownership, service
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.planning import retries
from tao_skill_bank.platforms import processes
from tao_skill_bank.runs.run_directory import timestamp

pytestmark = pytest.mark.usefixtures("fake_trainer")
REFERENCES = {
    "local": {"pid": 2**22 + 1, "start_time": 1.0, "host": "old-name", "grace_seconds": 5.0},
    "docker": {"machine": "old-name", "grace_seconds": 5.0, "keep": 0, "container_id": "0" * 64},
}


@pytest.fixture
def rename(monkeypatch):
    """Give this machine another name."""
    return lambda name: monkeypatch.setattr("socket.gethostname", lambda: name)


def of_another_machine(folder, platform="local", *, age_seconds=3600.0, **changes):
    """Return the record of a job that another machine launched, with a run directory on a shared file system."""
    record = make_record(make_job(folder), platform=platform, backend_ref=REFERENCES[platform], **changes)
    JobStore().create(record)
    (folder / "logs").mkdir(parents=True)
    for name in ("plan.json", "status.jsonl", "logs/job.log"):
        (folder / name).write_text("{}\n")
        os.utime(folder / name, (time.time() - age_seconds,) * 2)
    return record


def test_a_job_that_runs_is_known_and_stopped_under_a_new_name_of_its_machine(tmp_path, rename):
    job = service.launch(make_plan(make_job(tmp_path / "run", ("start", "step:1", "wait_for:never"))))
    pid_in(tmp_path / "run" / "rank_0.pid")
    rename("new-name")
    assert job.status().state in (State.PENDING, State.RUNNING)
    assert job.cancel().state is State.CANCELED
    assert not processes.of_job(job.id)


@pytest.mark.parametrize("platform", REFERENCES)
def test_a_job_of_another_machine_is_unknown_with_the_commands_for_either_case(tmp_path, rename, platform):
    rename("new-name")
    record = of_another_machine(tmp_path / "run", platform)
    now = service.status(record.id)
    (finding,) = now.findings
    assert (now.state, finding.code) == (State.UNKNOWN, "other_host")
    assert "old-name" in now.message
    assert "new-name" in now.message
    for command in (f"status {record.id} --adopt", f"cancel {record.id} --close", f"tao-skills status {record.id}."):
        assert command in finding.fix
    with pytest.raises(BackendError) as error:
        service.cancel(record.id)
    assert error.value.problems[0].code == "other_host"
    assert f"tao-skills cancel {record.id} --close" in error.value.problems[0].fix


def test_a_job_that_runs_here_is_adopted_although_it_writes(tmp_path, rename):
    job = service.launch(make_plan(make_job(tmp_path / "run", ("start", "step:1", "wait_for:never"))))
    pid_in(tmp_path / "run" / "rank_0.pid")
    rename("new-name")
    assert ownership.adopt(job.id).state in (State.PENDING, State.RUNNING)
    assert job.record.backend_ref["host"] == "new-name"
    job.cancel()


def test_nothing_claims_to_know_a_job_of_another_machine(tmp_path, rename):
    rename("new-name")
    record = of_another_machine(tmp_path / "run")
    with pytest.raises(ConflictError, match="not known") as error:
        retries.retry(record.id)
    (diagnosis,) = diagnose.diagnose(record.id)
    for fix in (error.value.problems[0].fix, diagnosis.cure):
        assert f"status {record.id} --adopt" in fix
        assert f"cancel {record.id} --close" in fix
    assert diagnosis.code == "other_host"


def test_an_adopted_job_ends_as_its_run_directory_says(tmp_path, rename):
    rename("new-name")
    record = of_another_machine(tmp_path / "run")
    shown = CliRunner().invoke(app, ["status", record.id, "--adopt"])
    assert shown.exit_code == 0, shown.output
    after = JobStore().read(record.id)
    assert (after.terminal_state, after.err_class) == (State.ERROR, "ERR_INFRA")
    assert after.backend_ref == {**REFERENCES["local"], "host": "new-name"}
    assert [moved.source for moved in after.transitions[1:]] == ["user", "backend"]
    assert "launched on old-name" in after.transitions[1].message


def test_an_adopted_job_that_its_launcher_never_submitted_is_an_error(tmp_path, rename):
    rename("new-name")
    launcher = {"launcher": {"host": "old-name", "pid": 2**22 + 1, "start_time": 1.0}}
    record = make_record(make_job(tmp_path / "run"), backend_ref=launcher)
    JobStore().create(record)
    assert service.status(record.id).findings[0].code == "other_host"
    now = ownership.adopt(record.id)
    assert (now.state, now.err_class) == (State.ERROR, "ERR_INFRA")
    assert "before it submitted" in now.message


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"age_seconds": 1.0}, "still_written"),
        ({"gone": True}, "run_directory_gone"),
        ({"here": True}, "not_elsewhere"),
        ({"terminal_state": State.COMPLETE}, "terminal_job"),
    ],
)
def test_what_may_run_elsewhere_or_is_no_other_machines_is_not_adopted(tmp_path, rename, change, code):
    rename("old-name" if change.pop("here", False) else "new-name")
    is_gone = change.pop("gone", False)
    record = of_another_machine(tmp_path / "run", **change)
    if is_gone:
        (tmp_path / "run" / "plan.json").unlink()
    with pytest.raises(ConflictError) as error:
        ownership.adopt(record.id)
    assert error.value.problems[0].code == code
    assert "tao-skills " in error.value.problems[0].fix
    assert JobStore().read(record.id) == record


@pytest.mark.parametrize("platform", REFERENCES)
def test_a_closed_record_frees_its_results_dir(tmp_path, rename, platform):
    rename("new-name")
    record = of_another_machine(tmp_path / "run", platform)
    shown = CliRunner().invoke(app, ["cancel", record.id, "--close"])
    assert shown.exit_code == 0, shown.output
    after = JobStore().read(record.id)
    assert after.terminal_state is State.CANCELED
    assert "without stopping anything" in after.transitions[-1].message
    assert JobStore().bound_to(str(tmp_path / "run")) == []


def test_a_job_of_an_engine_that_is_gone_is_closed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no Slurm here
    record = make_record(make_job(tmp_path / "run"), platform="slurm", backend_ref={"slurm_job_id": 7})
    JobStore().create(record)
    with pytest.raises(BackendError):
        service.cancel(record.id)
    now = ownership.close(record.id)
    assert now.state is State.CANCELED
    assert "cannot be started here" in now.message
    assert JobStore().read(record.id).terminal_state is State.CANCELED


def test_a_job_that_its_platform_knows_is_not_closed_unseen(tmp_path):
    job = service.launch(make_plan(make_job(tmp_path / "run", ("start", "wait_for:go", "succeed"))))
    with pytest.raises(ConflictError) as error:
        ownership.close(job.id)
    assert error.value.problems[0].fix == f"tao-skills cancel {job.id}"
    (tmp_path / "run" / "go").touch()
    assert job.wait(300).state is State.COMPLETE
    with pytest.raises(ConflictError):
        ownership.close(job.id)


def test_a_record_of_another_machine_never_hides_the_others(tmp_path, rename):
    mine = service.launch(make_plan(make_job(tmp_path / "mine", SUCCESS)))
    mine.wait(300)
    rename("new-name")
    theirs = of_another_machine(tmp_path / "theirs")
    later = replace(make_record(make_job(tmp_path / "later")), submitted_at=timestamp())
    JobStore().create(later)
    assert {record.id for record in service.list_jobs()} == {mine.id, theirs.id, later.id}


def test_a_record_whose_platform_is_not_installed_any_more_is_closed(tmp_path):
    record = of_another_machine(tmp_path / "run")
    path = JobStore().path_of(record.id)
    path.write_text(path.read_text().replace('"platform": "local"', '"platform": "mars"'))
    assert ownership.close(record.id).state is State.CANCELED
    assert "no platform 'mars'" in JobStore().read(record.id).transitions[-1].message


@pytest.mark.parametrize("reference", [{"launcher": 3}, {"launcher": {"pid": 1}}, {"launcher": None}])
def test_a_record_with_a_broken_reference_is_not_adopted(tmp_path, reference):
    record = make_record(make_job(tmp_path / "run"), backend_ref=reference)
    JobStore().create(record)
    with pytest.raises(ConflictError) as error:
        ownership.adopt(record.id)
    assert error.value.problems[0].code == "unreadable_record"
