import io
import itertools
import json
import os
import pty
import signal
import subprocess
import time
from types import SimpleNamespace

import pytest
from rich.console import Console
from runs import PYTHON, eventually, make_job, make_plan

from tao_skill_bank.contracts import JobStatus, State
from tao_skill_bank.jobs import follow as follow_module
from tao_skill_bank.jobs import service
from tao_skill_bank.jobs.follow import follow
from tao_skill_bank.runs.run_directory import RunDirectory
from tao_skill_bank.runs.status_log import StatusWriter

pytestmark = pytest.mark.usefixtures("fake_trainer")

FOLLOWER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start what runs in the background without it
from rich.console import Console
from tao_skill_bank.jobs.follow import follow
from tao_skill_bank.jobs.service import JobHandle
print("ended as", follow(JobHandle(sys.argv[1]), Console(stderr=True)).state)
"""


@pytest.fixture
def launch(tmp_path):
    handles = []

    def launch_job(*acts):
        handles.append(service.launch(make_plan(make_job(tmp_path / "run", acts))))
        return handles[-1]

    yield launch_job
    for handle in handles:
        if not handle.status().state.is_terminal:
            handle.cancel()


def metrics(job, **values):
    with job.run_directory.metrics_file.open("a") as file:
        file.write(json.dumps(values) + "\n")


def test_without_a_terminal_the_states_and_the_end_are_plain_lines(launch):
    job = launch("start", "step:3", "succeed")
    console = Console(file=io.StringIO(), width=200)
    assert follow(job, console).state is State.COMPLETE
    lines = console.file.getvalue().splitlines()
    assert lines[-1] == f"{job.id}  COMPLETE: done"
    assert "\x1b" not in console.file.getvalue()


@pytest.mark.parametrize(("min_percent", "shown"), [(0, range(1, 200)), (10, range(20, 200, 20))])
def test_lines_about_one_state_are_a_share_of_the_steps_apart(monkeypatch, tmp_path, min_percent, shown):
    """Each step takes longer than a line has to wait."""
    ticks = itertools.count(step=follow_module.PLAIN_LINE_SECONDS + 1)
    monkeypatch.setattr(follow_module.time, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(follow_module.time, "sleep", lambda _: None)
    running = [JobStatus("a", State.RUNNING, progress={"step": step, "total": 200}) for step in range(200)]
    statuses = iter([*running, JobStatus("a", State.COMPLETE)])
    handle = SimpleNamespace(
        record=SimpleNamespace(id="a"), run_directory=RunDirectory(tmp_path), status=lambda: next(statuses)
    )
    console = Console(file=io.StringIO(), width=200)
    follow(handle, console, min_percent)
    lines = console.file.getvalue().splitlines()
    assert lines == ["a  RUNNING", *(f"a  RUNNING  step {step}/200" for step in shown), "a  COMPLETE"]


def test_plain_lines_say_what_the_job_waits_for(launch, monkeypatch):
    job = launch("start", "wait_for:go", "succeed")
    eventually(lambda: job.run_directory.last_status().get("state") == "STARTED")
    status = StatusWriter(job.run_directory.path)
    console = Console(file=io.StringIO(), width=200)
    phases = [("encoding windows", 120, 600), ("loading the model",), ("validating",)]

    def next_phase(seconds):
        if phases:
            status.phase(*phases.pop(0))
        elif not (job.run_directory.path / "go").exists():
            status.progress(4, 10, "loss 1.0")
            (job.run_directory.path / "go").touch()
        time.sleep(0.05)

    monkeypatch.setattr(follow_module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=next_phase))
    follow(job, console)
    lines = [line.removeprefix(f"{job.id}  ") for line in console.file.getvalue().splitlines()]
    assert lines[1:4] == [
        "RUNNING  encoding windows: 120 of 600",
        "RUNNING  loading the model",
        "RUNNING  validating",
    ]


def test_a_failure_ends_with_its_state_and_leaves_the_cause_to_the_command(launch):
    console = Console(file=io.StringIO(), width=200)
    assert follow(launch("start", "fail:The acts [b]say[/b] so."), console).state is State.ERROR
    assert console.file.getvalue().splitlines()[-1].endswith("  ERROR")
    assert "The acts" not in console.file.getvalue()


def test_on_a_terminal_a_bar_shows_step_total_loss_and_state(launch):
    job = launch("start", "step:4", "wait_for:go", "succeed")
    metrics(job, step=4, **{"train/loss_avg": 0.125})
    control, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    follower = subprocess.Popen(
        [PYTHON, "-c", FOLLOWER, job.id], stderr=terminal, env=environment, stdout=subprocess.PIPE
    )
    os.close(terminal)
    shown = b""
    while b"4/10 steps" not in shown:
        shown += os.read(control, 4096)
    (job.run_directory.path / "go").touch()
    assert follower.communicate(timeout=300)[0] == b"ended as COMPLETE\n"
    assert b"RUNNING" in shown
    assert b"loss 0.125" in shown
    os.close(control)


def test_ctrl_c_leaves_the_job_running_and_says_how_to_go_on(launch):
    job = launch("start", "wait_for:go", "succeed")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    follower = subprocess.Popen([PYTHON, "-c", FOLLOWER, job.id], **pipes)
    first = follower.stderr.readline()
    assert job.id.encode() in first
    follower.send_signal(signal.SIGINT)
    output, error = follower.communicate(timeout=300)
    assert output.decode().split()[-1] in {"PENDING", "RUNNING"}
    assert f"tao-skills watch {job.id}" in error.decode()
    assert f"tao-skills cancel {job.id}" in error.decode()
    assert b"Traceback" not in error
    eventually(lambda: job.status().state is State.RUNNING)
    (job.run_directory.path / "go").touch()
    assert job.wait(timeout_seconds=300).state is State.COMPLETE
