import errno
import fcntl
import itertools
import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from runs import PYTHON, SUCCESS, eventually, is_alive, make_job, make_plan, make_record, pid_in

from tao_skill_bank.contracts import Plan, State, read_json, to_json
from tao_skill_bank.errors import (
    BackendError,
    BlockedError,
    ConflictError,
    RequestError,
    StillRunningError,
    UnknownNameError,
)
from tao_skill_bank.jobs import service
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.platforms import processes
from tao_skill_bank.runs import fencing

pytestmark = pytest.mark.usefixtures("fake_trainer")


@pytest.fixture
def launch(tmp_path):
    """Launch jobs, and leave none of their processes behind."""
    handles = []

    def launch_job(*acts, **changes):
        plan = make_plan(make_job(tmp_path / f"run-{len(handles)}", acts or SUCCESS, **changes))
        handles.append(service.launch(plan))
        return handles[-1]

    yield launch_job
    for handle in handles:
        if not handle.status().state.is_terminal:
            handle.cancel()


def states(job_id):
    return [transition.state.value for transition in JobStore().read(job_id).transitions]


# --- launch -------------------------------------------------------------------------------------------------------


def test_a_launched_job_runs_to_its_result(launch):
    job = launch()
    now = job.wait(timeout_seconds=300)
    assert (now.state, now.exit_code) == (State.COMPLETE, 0)
    assert job.record.terminal_state is State.COMPLETE
    assert job.result().state is State.COMPLETE
    assert json.loads(job.run_directory.result_file.read_text())["state"] == "COMPLETE"


def test_the_record_tells_the_story_of_the_job(launch):
    job = launch("start", "wait_for:go", "succeed")
    folder = job.run_directory.path
    eventually(lambda: job.status().state is State.RUNNING)
    (folder / "go").touch()
    job.wait(timeout_seconds=300)
    assert states(job.id) == ["PENDING", "PENDING", "RUNNING", "COMPLETE"]
    record = job.record
    assert [transition.source for transition in record.transitions] == ["dispatcher"] * 2 + ["backend"] * 2
    assert record.plan_sha256 == json.loads((folder / "plan.json").read_text())["sha256"]
    assert set(record.backend_ref) >= {"pid", "start_time", "host", "grace_seconds"}


def test_the_run_directory_holds_the_plan_the_request_and_every_planned_file(tmp_path):
    plan = make_plan(make_job(tmp_path / "run"))
    job = service.launch(plan)
    job.wait(timeout_seconds=300)
    assert read_json(Plan, tmp_path / "run" / "plan.json") == plan
    assert json.loads((tmp_path / "run" / "request.json").read_text()) == to_json(plan.request)
    for name, text in plan.files.items():
        assert (tmp_path / "run" / name).read_text() == text


def test_a_plan_runs_once(tmp_path):
    plan = make_plan(make_job(tmp_path / "run"))
    service.launch(plan).wait(timeout_seconds=300)
    with pytest.raises(ConflictError):
        service.launch(plan)
    assert len(JobStore().all()) == 1


def test_a_results_dir_with_foreign_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "model.pt").write_text("precious")
    with pytest.raises(ConflictError, match=r"checkpoints/model\.pt"):
        service.launch(make_plan(make_job(tmp_path / "run")))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoints"]
    assert JobStore().all() == []


def test_a_results_dir_that_holds_only_the_saved_plan_is_used(tmp_path):
    plan = make_plan(make_job(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "plan.json").write_text(json.dumps(to_json(plan)))
    assert service.launch(plan).wait(timeout_seconds=300).state is State.COMPLETE


@pytest.mark.slow
def test_a_results_dir_of_a_running_job_is_refused_as_its_own_whatever_it_holds(launch):
    job = launch("start", "step:1", "wait_for:never")
    eventually(lambda: job.run_directory.last_status().get("state") == "RUNNING")
    with pytest.raises(ConflictError) as caught:
        service.launch(make_plan(make_job(job.run_directory.path)))
    assert caught.value.problems[0].code == "results_dir_in_use"


def test_a_results_dir_of_a_running_job_is_refused(launch):
    running = launch("start", "wait_for:never")
    second = make_plan(make_job(running.run_directory.path))
    with pytest.raises(ConflictError):
        service.launch(second)
    with pytest.raises(UnknownNameError):
        service.status(second.job.id)


def test_a_results_dir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ConflictError):
        service.launch(make_plan(make_job(tmp_path / "run")))


def test_a_run_directory_that_cannot_be_written_fails_the_recorded_job(tmp_path):
    (tmp_path / "file").write_text("")
    plan = make_plan(make_job(tmp_path / "file" / "run"))
    with pytest.raises(BlockedError, match="cannot be written"):
        service.launch(plan)
    record = JobStore().read(plan.job.id)
    assert (record.terminal_state, record.err_class) == (State.ERROR, "ERR_INFRA")


def test_a_refused_submission_is_recorded_with_its_reason(tmp_path):
    plan = make_plan(make_job(tmp_path / "run"))
    with pytest.raises(BackendError):
        service.launch(replace(plan, argv=("no-such-shell", "launch.sh")))
    record = JobStore().read(plan.job.id)
    assert (record.terminal_state, record.err_class) == (State.ERROR, "ERR_INFRA")
    assert "no-such-shell" in record.transitions[-1].message


def test_nothing_is_launched_when_it_cannot_be_recorded(tmp_path, monkeypatch):
    (tmp_path / "state").write_text("in the place of the directory")
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "state"))
    with pytest.raises(BlockedError):
        service.launch(make_plan(make_job(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


# --- the launcher dies --------------------------------------------------------------------------------------------

LAUNCHER = """
import sys
from pathlib import Path
from tao_skill_bank.contracts import Plan, read_json
from tao_skill_bank.jobs import service
from tao_skill_bank.platforms import processes
from tao_skill_bank.runs import fencing
from tao_skill_bank.platforms.local.platform import Local
spawn, submit = processes.spawn, Local.submit
def stop_here(*_):
    print("here", flush=True)
    sys.stdin.read()
def spawn_then_stop(*arguments):
    process = spawn(*arguments)
    stop_here()
    return process
def stop_then_submit(*arguments):
    stop_here()
    return submit(*arguments)
if sys.argv[2] == "before submit":
    Local.submit = stop_then_submit
if sys.argv[2] == "before the reference is recorded":
    processes.spawn = spawn_then_stop
service.launch(read_json(Plan, Path(sys.argv[1])))
stop_here()
"""


@pytest.fixture
def launcher(tmp_path):
    """Start a launcher in a process of its own that stops at a point, and give it with its plan."""
    started = []

    def start(plan, point):
        path = tmp_path / f"{plan.job.id}.json"
        path.write_text(json.dumps(to_json(plan)))
        pipe = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = subprocess.Popen([PYTHON, "-c", LAUNCHER, str(path), point], **pipe)
        started.append(process)
        assert process.stdout.readline() == b"here\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_job_survives_the_death_of_its_launcher(tmp_path, launcher):
    plan = make_plan(make_job(tmp_path / "run", ("start", "wait_for:go", "succeed")))
    kill(launcher(plan, "after submit"))
    assert eventually(lambda: service.status(plan.job.id).state is State.RUNNING)
    (tmp_path / "run" / "go").touch()
    assert service.JobHandle(plan.job.id).wait(timeout_seconds=300).state is State.COMPLETE


def test_a_job_is_pending_while_its_launcher_submits_and_an_error_once_that_died(tmp_path, launcher):
    plan = make_plan(make_job(tmp_path / "run"))
    process = launcher(plan, "before submit")
    assert service.status(plan.job.id).state is State.PENDING
    kill(process)
    now = service.status(plan.job.id)
    assert (now.state, now.err_class) == (State.ERROR, "ERR_INFRA")
    assert "before it submitted" in now.message
    assert states(plan.job.id) == ["PENDING", "ERROR"]


def test_a_results_dir_is_free_again_when_its_launcher_died_before_it_started_anything(tmp_path, launcher):
    kill(launcher(make_plan(make_job(tmp_path / "run")), "before submit"))
    assert service.launch(make_plan(make_job(tmp_path / "run"))).wait(timeout_seconds=300).state is State.COMPLETE


def test_a_job_whose_launcher_died_before_it_noted_the_process_is_still_found(tmp_path, launcher):
    plan = make_plan(make_job(tmp_path / "run", ("start", "wait_for:go", "succeed")))
    kill(launcher(plan, "before the reference is recorded"))
    assert eventually(lambda: service.status(plan.job.id).state is State.RUNNING)
    (tmp_path / "run" / "go").touch()
    assert service.JobHandle(plan.job.id).wait(timeout_seconds=300).state is State.COMPLETE


def test_a_job_that_was_being_submitted_on_another_machine_stays_open(tmp_path):
    launcher = {"host": "another-host", "pid": 1, "start_time": 0.0}
    record = make_record(make_job(tmp_path), backend_ref={"launcher": launcher})
    JobStore().create(record)
    assert service.status(record.id).state is State.UNKNOWN
    assert JobStore().read(record.id) == record


# --- status, cancel, list -----------------------------------------------------------------------------------------


def test_an_ended_job_keeps_its_state_though_its_files_are_gone(launch):
    job = launch()
    job.wait(timeout_seconds=300)
    for path in job.run_directory.path.rglob("*"):
        if path.is_file():
            path.unlink()
    assert job.status().state is State.COMPLETE


def test_a_failed_job_tells_cause_and_cure_from_its_record(launch):
    job = launch("start", "fail:The acts say so.")
    assert job.wait(timeout_seconds=300).state is State.ERROR
    now = job.status()
    assert (now.err_class, now.exit_code) == ("ERR_PROGRAM", 1)
    assert "The acts say so. Change the acts." in now.message


def test_a_killed_process_group_is_recorded_as_an_infrastructure_error(launch):
    job = launch("start", "wait_for:never")
    eventually(lambda: job.status().state is State.RUNNING)
    os.killpg(job.record.backend_ref["pid"], signal.SIGKILL)
    assert job.wait(timeout_seconds=300).err_class == "ERR_INFRA"
    assert job.record.terminal_state is State.ERROR
    assert "killed" in job.result().failure


def test_a_cancelled_job_is_recorded_and_a_second_cancel_changes_nothing(launch):
    job = launch("start", "wait_for:never")
    pid = pid_in(job.run_directory.path / "rank_0.pid")
    assert job.cancel().state is State.CANCELED
    assert not is_alive(pid)
    recorded = job.record
    assert job.cancel().state is State.CANCELED
    assert job.record == recorded


def test_cancel_of_a_completed_job_is_a_conflict(launch):
    job = launch()
    job.wait(timeout_seconds=300)
    with pytest.raises(ConflictError, match="already ended as COMPLETE"):
        job.cancel()
    assert job.record.terminal_state is State.COMPLETE


def test_a_cancel_during_the_submission_stops_what_was_submitted(tmp_path, launcher):
    plan = make_plan(make_job(tmp_path / "run", ("start", "wait_for:never")))
    process = launcher(plan, "before submit")
    assert service.cancel(plan.job.id).state is State.CANCELED
    _, error = process.communicate()  # it goes on, and finds its job cancelled
    assert b"ConflictError" in error
    assert (tmp_path / "run" / "logs" / "job.log").exists()
    assert processes.of_job(plan.job.id) == []
    assert states(plan.job.id) == ["PENDING", "CANCELED"]


@pytest.mark.parametrize("seconds", [0, 0.2])
def test_a_wait_that_runs_out_of_time_raises_and_leaves_the_job_running(launch, seconds):
    job = launch("start", "step:3", "wait_for:never")
    eventually(lambda: job.run_directory.last_status().get("step") == 3)
    with pytest.raises(StillRunningError, match="has not ended: RUNNING, step 3 of 10") as error:
        job.wait(timeout_seconds=seconds)
    assert (error.value.exit_code, job.status().state) == (9, State.RUNNING)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_wait_for_no_time_is_refused(launch, seconds):
    with pytest.raises(RequestError, match="not a number of seconds"):
        launch().wait(timeout_seconds=seconds)


def test_the_list_asks_again_for_jobs_that_had_not_ended(launch):
    first = launch()
    second = launch("start", "wait_for:never")
    eventually(lambda: second.status().state is State.RUNNING)
    eventually(lambda: first.run_directory.exit_code() == 0)
    seen = eventually(lambda: (found := service.list_jobs())[1].terminal_state and found)
    assert [(record.id, record.state) for record in seen] == [
        (second.id, State.RUNNING),
        (first.id, State.COMPLETE),
    ]


def test_verbs_on_an_unknown_job_say_so():
    for verb in (service.status, service.log_text, service.cancel):
        with pytest.raises(UnknownNameError):
            verb("cosmos-rl-train-000000000000")


# --- a full disk --------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 64 KiB."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        file.writelines(itertools.repeat(b"x" * 4096))


def test_a_disk_that_fills_up_during_the_run_ends_in_a_truthful_record(small_disk):
    plan = make_plan(make_job(small_disk / "run", ("start", "wait_for:go", "succeed")))
    job = service.launch(plan)
    eventually(lambda: job.status().state is State.RUNNING)
    (small_disk / "run" / "go.partial").touch()
    fill(small_disk)
    (small_disk / "run" / "go.partial").rename(small_disk / "run" / "go")
    now = job.wait(timeout_seconds=300)
    assert (now.state, now.exit_code) == (State.COMPLETE, None)  # the trainer had reported SUCCESS
    assert "left no exit code" in now.message
    assert [found.code for found in now.findings] == ["result_not_written"]
    assert job.record.terminal_state is State.COMPLETE
    assert job.result().state is State.COMPLETE


def test_a_full_disk_of_results_starts_nothing(small_disk):
    fill(small_disk)
    plan = make_plan(make_job(small_disk / "run"))
    with pytest.raises(BlockedError, match="No space left"):
        service.launch(plan)
    assert JobStore().read(plan.job.id).terminal_state is State.ERROR


def test_a_resumed_job_runs_in_the_directory_of_an_ended_one_and_keeps_its_logs(tmp_path):
    first = service.launch(make_plan(make_job(tmp_path / "run")))
    assert first.wait(timeout_seconds=300).state is State.COMPLETE
    again = make_job(tmp_path / "run")
    with pytest.raises(ConflictError, match="is not empty"):
        service.launch(make_plan(again))
    resumed = service.launch(make_plan(replace(again, workload=replace(again.workload, resume=True))))
    assert resumed.wait(timeout_seconds=300).state is State.COMPLETE
    assert (tmp_path / "run" / "logs" / f"{first.id}.status.jsonl").is_file()
    assert JobStore().read(first.id).terminal_state is State.COMPLETE


def test_a_resumed_job_that_fails_leaves_the_earlier_jobs_result_status_and_log_readable(tmp_path):
    first = service.launch(make_plan(make_job(tmp_path / "run", ("start", "say:of the first", "step:3", "succeed"))))
    assert first.wait(timeout_seconds=300).state is State.COMPLETE
    before, log = first.result(), list(first.logs())
    again = make_job(tmp_path / "run", ("start", "fail:The checkpoint is damaged."))
    resumed = service.launch(make_plan(replace(again, workload=replace(again.workload, resume=True))))
    assert resumed.wait(timeout_seconds=300).state is State.ERROR
    assert first.result() == before
    assert list(first.logs()) == log
    assert "of the first" in log
    assert (first.status().exit_code, first.status().progress["state"]) == (0, "SUCCESS")
    assert "The checkpoint is damaged." in resumed.result().failure


def test_a_folder_in_which_a_training_was_interrupted_at_its_start_takes_a_resume(tmp_path):
    job = make_job(tmp_path / "run", ("signal_self:SIGUSR1",))
    assert service.launch(make_plan(job)).wait(timeout_seconds=300).is_interrupted
    again = make_job(tmp_path / "run", resume_key="train.resume")
    with pytest.raises(ConflictError) as caught:
        service.launch(make_plan(again))
    assert "train.resume=true" in caught.value.problems[0].fix
    resumed = service.launch(make_plan(replace(again, workload=replace(again.workload, resume=True))))
    assert resumed.wait(timeout_seconds=300).state is State.COMPLETE


def test_a_job_that_keeps_what_is_saved_runs_in_the_directory_of_an_ended_one(tmp_path):
    first = service.launch(make_plan(make_job(tmp_path / "run")))
    assert first.wait(timeout_seconds=300).state is State.COMPLETE
    again = make_job(tmp_path / "run")
    added = service.launch(make_plan(replace(again, workload=replace(again.workload, adds=True))))
    assert added.wait(timeout_seconds=300).state is State.COMPLETE


def test_a_training_in_a_directory_with_checkpoints_is_told_how_to_go_on(tmp_path):
    (tmp_path / "run" / "checkpoints" / "epoch_1").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "epoch_1" / "progress.json").write_text("{}")
    job = make_job(tmp_path / "run", resume_key="train.resume")
    with pytest.raises(ConflictError) as caught:
        service.launch(make_plan(replace(job, workload=replace(job.workload, trains=True))))
    assert "train.resume=true" in caught.value.problems[0].fix


def test_a_resume_in_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    job = make_job(tmp_path / "run")
    with pytest.raises(ConflictError, match=r"thesis\.txt"):
        service.launch(make_plan(replace(job, workload=replace(job.workload, resume=True))))


# --- who still writes ---------------------------------------------------------------------------------------------


def test_a_run_directory_in_which_a_process_of_an_ended_job_is_left_is_refused_until_it_is_stopped(tmp_path):
    first = service.launch(make_plan(make_job(tmp_path / "run", ("start", "leave_orphan", "fail:broken"))))
    assert first.wait(timeout_seconds=300).state is State.ERROR
    orphan = pid_in(tmp_path / "run" / "orphan.pid")
    again = make_job(tmp_path / "run")
    resumed = make_plan(replace(again, workload=replace(again.workload, resume=True)))
    with pytest.raises(ConflictError, match=first.id) as caught:
        service.launch(resumed)
    assert caught.value.problems[0].code == "results_dir_in_use"
    assert is_alive(orphan)
    with pytest.raises(ConflictError):  # the command of the fix; the job had ended before
        service.cancel(first.id)
    assert not is_alive(orphan)
    assert service.launch(resumed).wait(timeout_seconds=300).state is State.COMPLETE


def test_what_a_killed_launch_left_is_no_obstacle_to_the_next_one(tmp_path):
    folder = tmp_path / "run"
    (folder / "config").mkdir(parents=True)
    for name in (".plan.json.partial", "config/.train.json.partial", ".writer.lock", ".writer.json", "launch.sh"):
        (folder / name).write_text("{")
    job = service.launch(make_plan(make_job(folder)))
    assert job.wait(timeout_seconds=300).state is State.COMPLETE


def test_a_run_directory_inside_that_of_another_job_is_refused_unless_the_plan_names_it(tmp_path):
    outer = service.launch(make_plan(make_job(tmp_path / "run")))
    assert outer.wait(timeout_seconds=300).state is State.COMPLETE
    plan = make_plan(make_job(tmp_path / "run" / "inner"))
    with pytest.raises(ConflictError) as caught:
        service.launch(plan)
    assert caught.value.problems[0].code == "inside_another_run"
    assert not (tmp_path / "run" / "inner").exists()
    named = replace(plan, request=replace(plan.request, parent_job_id=outer.id))
    assert service.launch(named).wait(timeout_seconds=300).state is State.COMPLETE


def test_a_launch_where_files_cannot_be_locked_says_so_and_refuses_a_second_writer(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    first = service.launch(make_plan(make_job(tmp_path / "run", ("start", "leave_orphan", "fail:broken"))))
    assert "has no locks" in first.record.transitions[-1].message
    assert first.wait(timeout_seconds=300).state is State.ERROR
    (tmp_path / "run" / fencing.FILE).write_text(json.dumps({"job_id": first.id}))  # as rank 0 of a training does
    again = make_job(tmp_path / "run")
    resumed = make_plan(replace(again, workload=replace(again.workload, resume=True)))
    with pytest.raises(ConflictError, match=f"Processes of job {first.id} are left"):
        service.launch(resumed)
    with pytest.raises(ConflictError):
        service.cancel(first.id)
    resumed = make_plan(replace(again, id=make_job(tmp_path).id, workload=replace(again.workload, resume=True)))
    assert service.launch(resumed).wait(timeout_seconds=300).state is State.COMPLETE
