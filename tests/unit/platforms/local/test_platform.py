import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from runs import PYTHON, eventually, is_alive, make_job, make_plan, make_record, pid_in

from tao_skill_bank.contracts import PlatformRequest, Resources, State, Workload
from tao_skill_bank.errors import BackendError
from tao_skill_bank.platforms.local.platform import PLATFORM

GOLDEN = Path(__file__).parents[3] / "golden"

pytestmark = pytest.mark.usefixtures("fake_trainer")


class Run:
    """A job that the platform runs from a written run directory, without the job store."""

    def __init__(self, folder, acts, **changes):
        self.folder = folder
        self.job = make_job(folder, acts, **changes)
        self.plan = make_plan(self.job)
        for name, text in self.plan.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.record = make_record(self.job, backend_ref=PLATFORM.submit(self.plan))

    def status(self):
        return PLATFORM.status(self.record)

    def until(self, *states):
        return eventually(lambda: (now := self.status()).state in states and now)

    def ended(self):
        return self.until(State.COMPLETE, State.ERROR, State.CANCELED)

    def log(self):
        return (self.folder / "logs" / "job.log").read_text()


@pytest.fixture
def start(tmp_path):
    """Start runs, and leave none of their processes behind."""
    started = []

    def start_run(*acts, **changes):
        started.append(Run(tmp_path / f"run {len(started)}", acts, **changes))
        return started[-1]

    yield start_run
    for run in started:
        PLATFORM.cancel(run.record)


# --- render -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("golden", "changes"),
    [
        (
            "local_train_two_processes_cpu.sh",
            {
                "resources": Resources(processes_per_node=2, device="cpu"),
                "distributed": True,
                "fetches": (("builtin://tiny-cosmos-reason", "/state/models/tiny-cosmos-reason"),),
            },
        ),
        (
            "local_evaluate_gpu.sh",
            {
                "workload": Workload(),
                "resources": Resources(),
                "fetches": (("hf_model://nvidia/Cosmos-Reason2-8B@main", "/models/it's 8B"),),
            },
        ),
    ],
)
def test_the_launch_script_is_the_golden_file(golden, changes):
    job = make_job("/results/a run", id="cosmos-rl-train-0123456789ab", module="tao_skill_bank.training.x", **changes)
    launch = PLATFORM.render(make_plan(job))
    assert launch.argv == ("bash", "/results/a run/launch.sh")
    assert launch.files["launch.sh"].replace(shlex.quote(sys.executable), "PYTHON") == (GOLDEN / golden).read_text()


def test_rendering_the_same_plan_twice_gives_the_same_launch():
    plan = make_plan(make_job("/results/a"))
    assert PLATFORM.render(plan) == PLATFORM.render(plan)


# --- a run --------------------------------------------------------------------------------------------------------


def test_a_successful_run_completes_with_its_log_and_exit_code(start):
    run = start("start", "say:hello", "succeed")
    now = run.ended()
    assert (now.state, now.exit_code, now.err_class) == (State.COMPLETE, 0, None)
    assert now.progress["message"] == "done"
    assert run.log() == "hello\n"


def test_a_run_is_pending_until_the_trainer_reports_then_running_with_its_progress(start):
    run = start("wait_for:begin", "start", "step:3", "wait_for:finish", "succeed")
    pid_in(run.folder / "rank_0.pid")
    assert run.status().state is State.PENDING
    (run.folder / "begin").touch()
    now = eventually(lambda: (now := run.status()).progress.get("step") and now)
    assert (now.state, now.message, now.progress["total"]) == (State.RUNNING, "step 3", 10)
    (run.folder / "finish").touch()
    assert run.ended().state is State.COMPLETE


def test_the_trainer_sees_the_environment_of_a_cpu_job(start):
    names = "TAO_JOB_ID,CUDA_VISIBLE_DEVICES,TOKENIZERS_PARALLELISM,PYTHONUNBUFFERED,OMP_NUM_THREADS"
    run = start(f"environment:{names}", "succeed", resources=Resources(processes_per_node=1, device="cpu"))
    assert run.ended().state is State.COMPLETE
    seen = json.loads((run.folder / "environment.json").read_text())
    assert (seen["TAO_JOB_ID"], seen["CUDA_VISIBLE_DEVICES"]) == (run.job.id, "")
    assert (seen["TOKENIZERS_PARALLELISM"], seen["PYTHONUNBUFFERED"]) == ("false", "1")
    assert 1 <= int(seen["OMP_NUM_THREADS"]) <= os.cpu_count()
    assert seen["cwd"] == str(run.folder)
    assert str(run.folder) not in seen["path"]


def test_the_job_ignores_no_signal_that_this_python_ignores(start):
    run = start("start", "wait_for:never")
    run.until(State.RUNNING)
    status = Path(f"/proc/{run.record.backend_ref['pid']}/status").read_text()
    ignored = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")), 16)
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


def test_threads_are_shared_among_the_processes_of_a_cpu_job(start, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run = start("environment:OMP_NUM_THREADS", "succeed", resources=Resources(processes_per_node=999, device="cpu"))
    run.ended()
    assert json.loads((run.folder / "environment.json").read_text())["OMP_NUM_THREADS"] == "1"


def test_a_reported_failure_is_a_program_error_with_its_cause_and_fix(start):
    now = start("start", "fail:The acts say so.").ended()
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_PROGRAM", 1)
    assert "The acts say so. Change the acts." in now.message


@pytest.mark.parametrize(("acts", "code"), [(("start", "exit:42"), 42), (("start",), 0)])
def test_an_end_without_a_report_is_a_program_error_with_its_exit_code(start, acts, code):
    now = start(*acts).ended()
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_PROGRAM", code)
    assert "tao-skills diagnose" in now.message


def test_a_success_line_does_not_hide_a_later_failure(start):
    now = start("succeed", "exit:3").ended()
    assert (now.state, now.exit_code) == (State.ERROR, 3)


def test_a_failed_fetch_ends_the_run_before_the_trainer_starts(start):
    run = start("start", "succeed", fetches=(("builtin://no-such-model", "/nowhere"),))
    assert run.ended().state is State.ERROR
    assert not (run.folder / "status.jsonl").exists()


def test_a_command_that_does_not_exist_is_a_backend_error_with_a_fix(tmp_path):
    plan = make_plan(make_job(tmp_path))
    with pytest.raises(BackendError, match="could not be started") as error:
        PLATFORM.submit(type(plan)(**{**vars(plan), "argv": ("no-such-shell", "launch.sh")}))
    assert "no-such-shell" in error.value.problems[0].fix


# --- killed -------------------------------------------------------------------------------------------------------


def test_a_killed_process_group_is_an_infrastructure_error(start):
    run = start("start", "wait_for:never")
    run.until(State.RUNNING)
    os.killpg(run.record.backend_ref["pid"], signal.SIGKILL)
    now = run.ended()
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_INFRA", None)
    assert "killed" in now.message


@pytest.mark.slow
def test_a_killed_rank_fails_the_whole_job(start):
    two = Resources(processes_per_node=2, device="cpu")
    run = start("start", "wait_for:never", distributed=True, resources=two)
    victim, sibling = (pid_in(run.folder / f"rank_{rank}.pid") for rank in (1, 0))
    run.until(State.RUNNING)
    os.kill(victim, signal.SIGKILL)
    now = run.ended()
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_INFRA", 137)
    assert now.is_unexplained
    assert not is_alive(sibling)
    assert "SIGKILL" in run.log()


def test_a_job_goes_on_while_a_process_of_it_lives_though_its_script_was_killed(start):
    run = start("start", "leave_orphan", "wait_for:never")
    orphan = pid_in(run.folder / "orphan.pid")
    os.killpg(run.record.backend_ref["pid"], signal.SIGKILL)
    eventually(lambda: not is_alive(run.record.backend_ref["pid"]))
    assert run.status().state is State.RUNNING
    os.kill(orphan, signal.SIGKILL)
    assert run.ended().err_class == "ERR_INFRA"


def test_processes_that_outlive_a_failed_job_are_named_and_a_cancel_stops_them(start):
    run = start("start", "leave_orphan", "exit:1")
    orphan = pid_in(run.folder / "orphan.pid")
    now = run.ended()
    assert now.state is State.ERROR
    assert str(orphan) in now.message
    PLATFORM.cancel(run.record)
    assert not is_alive(orphan)


def test_a_reused_process_number_is_neither_taken_for_the_job_nor_killed(tmp_path):
    stranger = subprocess.Popen([PYTHON, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        born = psutil.Process(stranger.pid).create_time()
        reference = {"pid": stranger.pid, "start_time": born - 3600, "host": socket.gethostname()}
        record = make_record(make_job(tmp_path), backend_ref=reference)
        assert PLATFORM.status(record).state is State.ERROR
        PLATFORM.cancel(record)
        assert stranger.poll() is None
    finally:
        stranger.communicate(b"\n")


def test_a_job_of_another_machine_is_unknown_here_and_cannot_be_cancelled_here(tmp_path):
    reference = {"pid": 1, "start_time": 0.0, "host": "another-host"}
    record = make_record(make_job(tmp_path), backend_ref=reference)
    assert PLATFORM.status(record).state is State.UNKNOWN
    with pytest.raises(BackendError, match="another-host"):
        PLATFORM.cancel(record)


# --- cancel -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_cancel_stops_every_process_and_a_second_cancel_changes_nothing(start):
    two = Resources(processes_per_node=2, device="cpu")
    run = start("start", "leave_orphan", "wait_for:never", distributed=True, resources=two)
    processes = [pid_in(run.folder / name) for name in ("rank_0.pid", "rank_1.pid", "orphan.pid")]
    run.until(State.RUNNING)
    PLATFORM.cancel(run.record)
    assert run.status().state is State.CANCELED
    assert not any(is_alive(pid) for pid in [run.record.backend_ref["pid"], *processes])
    PLATFORM.cancel(run.record)
    assert run.status().state is State.CANCELED


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_signal_from_outside_is_an_infrastructure_error_that_says_how_to_go_on(start, processes):
    several = Resources(processes_per_node=processes, device="cpu")
    run = start("save_on_signal", "start", "wait_for:never", distributed=processes > 1, resources=several)
    run.until(State.RUNNING)
    [pid_in(run.folder / f"rank_{rank}.pid") for rank in range(processes)]
    os.killpg(run.record.backend_ref["pid"], signal.SIGUSR1)
    now = run.ended()
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_INFRA", 75)
    assert "Interrupted by a signal, not failed" in now.message
    assert "step_7" in now.message
    assert "train.resume=true" in now.message


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
@pytest.mark.parametrize("acts", [(), ("start",)])
def test_a_signal_before_a_training_listens_interrupts_it_and_loses_nothing(start, name, acts):
    now = start(*acts, f"signal_self:{name}").ended()
    assert (now.state, now.err_class, now.exit_code, now.is_interrupted) == (State.ERROR, "ERR_INFRA", 75, True)
    assert f"Nothing was trained yet. Resume it with: tao-skills retry {now.id}" in now.message


@pytest.mark.parametrize(
    ("acts", "workload"), [(("start", "step:1"), Workload(trains=True)), (("start",), Workload(trains=False))]
)
def test_a_signal_that_loses_work_is_no_interruption(start, acts, workload):
    now = start(*acts, "signal_self:SIGTERM", workload=workload).ended()
    assert (now.state, now.exit_code, now.is_interrupted) == (State.ERROR, 143, False)


def test_a_job_can_be_stopped_although_what_started_it_ignores_or_blocks_signals(start):
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        run = start("save_on_signal", "start", "wait_for:never")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    run.until(State.RUNNING)
    PLATFORM.cancel(run.record)
    now = run.status()
    assert (now.state, now.exit_code) == (State.CANCELED, 75)


def test_a_cancelled_training_says_where_it_saved_itself(start):
    run = start("save_on_signal", "start", "wait_for:never")
    run.until(State.RUNNING)
    PLATFORM.cancel(run.record)
    now = run.status()
    assert (now.state, now.exit_code) == (State.CANCELED, 75)
    assert now.message == "Cancelled on request. All of it is in step_7."


def test_cancel_kills_a_trainer_that_ignores_the_request(start):
    options = PlatformRequest(options={"grace_seconds": 0.2})
    run = start("ignore_sigterm", "start", "wait_for:never", platform=options)
    run.until(State.RUNNING)
    PLATFORM.cancel(run.record)
    assert run.status().state is State.CANCELED
    assert not is_alive(pid_in(run.folder / "rank_0.pid"))


def test_cancel_finds_a_job_whose_reference_was_never_recorded(start):
    run = start("start", "wait_for:never")
    run.until(State.RUNNING)
    unrecorded = make_record(run.job)
    assert PLATFORM.status(unrecorded).state is State.RUNNING
    PLATFORM.cancel(unrecorded)
    assert PLATFORM.status(unrecorded).state is State.CANCELED


def test_a_cancel_after_the_end_does_not_turn_success_into_cancelled(start):
    run = start("start", "succeed")
    run.ended()
    PLATFORM.cancel(run.record)
    assert run.status().state is State.COMPLETE


# --- logs ---------------------------------------------------------------------------------------------------------


def test_followed_logs_come_while_the_job_runs_and_end_with_it(start):
    run = start("start", "say:first", "wait_for:go", "say:last", "succeed")
    lines = PLATFORM.logs(run.record, follow=True)
    assert next(lines) == "first\n"
    (run.folder / "go").touch()
    assert list(lines) == ["last\n"]


def test_logs_of_a_job_that_wrote_none_are_empty(tmp_path):
    assert list(PLATFORM.logs(make_record(make_job(tmp_path)), follow=False)) == []


# --- probe --------------------------------------------------------------------------------------------------------


def test_several_nodes_block(tmp_path):
    findings = PLATFORM.probe(make_job(tmp_path, resources=Resources(nodes=2)))
    assert [(finding.code, finding.severity, finding.path) for finding in findings] == [
        ("local_single_node", "blocking", "platform.nodes")
    ]


def test_a_machine_without_torch_blocks_with_the_pip_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (finding,) = PLATFORM.probe(make_job(tmp_path))
    assert (finding.code, finding.severity, finding.blocks_run) == ("missing_extra", "warning", True)
    assert finding.fix == "pip install 'tao-skill-bank[train]'"


def test_a_machine_with_torch_has_no_findings(tmp_path):
    assert PLATFORM.probe(make_job(tmp_path)) == []
