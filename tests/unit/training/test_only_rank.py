"""The only process of a job: started without torchrun, with the same signals, exit codes and end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from runs import eventually, is_alive, pid_in

from tao_skill_bank.jobs import diagnose
from tao_skill_bank.training import only_rank

RANK = """
import os, signal, sys, time
from pathlib import Path
folder, act = Path(sys.argv[1]), sys.argv[2]
def end(number, frame):
    (folder / f"got_{signal.Signals(number).name}").touch()
    sys.exit(75)
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, end)
(folder / "loaded").write_text(str([name for name in os.environ if name in sys.argv[3:]]))
work = folder / "work"
work.write_text(str(os.getpid()))
work.rename(folder / "pid")
if act.isdigit():
    os.kill(os.getpid(), int(act))
while act == "wait":
    time.sleep(0.02)
sys.exit(3 if act == "fail" else 0)
"""


def start(folder: Path, act: str, **environment: str) -> "subprocess.Popen[str]":
    (folder / "one_rank.py").write_text(RANK)
    words = [*only_rank.ARGUMENTS, "one_rank", str(folder), act, *sorted(only_rank.SET_BY_TORCHRUN)]
    command = [sys.executable, "-m", "tao_skill_bank.training.launcher", *words]
    environment = {**os.environ, "PYTHONPATH": str(folder), **environment}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize(
    ("sent", "received"),
    [("SIGTERM", "SIGUSR1"), ("SIGUSR1", "SIGUSR1"), ("SIGINT", "SIGINT"), ("SIGHUP", "SIGHUP")],
)
def test_a_signal_reaches_the_process_and_its_exit_code_is_the_jobs(tmp_path: Path, sent: str, received: str) -> None:
    process = start(tmp_path, "wait")
    pid_in(tmp_path / "pid")
    process.send_signal(signal.Signals[sent])
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 75
    assert (tmp_path / f"got_{received}").exists()
    assert "Traceback" not in errors


@pytest.mark.parametrize(("act", "code"), [("fail", 3), ("succeed", 0), ("9", 137)])
def test_its_end_is_the_end_of_the_job(tmp_path: Path, act: str, code: int) -> None:
    process = start(tmp_path, act)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == code
    assert ("exitcode" in errors) == (code != 0)


def test_a_killed_process_is_diagnosed_as_under_torchrun(tmp_path: Path) -> None:
    _, errors = start(tmp_path, "9").communicate(timeout=600)
    assert [found.code for found in diagnose.diagnose_text(errors.splitlines(), "job.log")] == ["killed"]


def test_variables_of_a_torchrun_around_it_do_not_count(tmp_path: Path) -> None:
    around = dict.fromkeys(only_rank.SET_BY_TORCHRUN, "4")
    assert start(tmp_path, "succeed", **around).wait(timeout=600) == 0
    assert (tmp_path / "loaded").read_text() == "[]"


def test_nothing_is_loaded_to_start_it() -> None:
    code = "import sys, tao_skill_bank.training.launcher; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_it_ends_with_a_killed_launcher(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f'run_dir = "{tmp_path}"\n')
    words = [*only_rank.ARGUMENTS, "endless_training", "--config", str(tmp_path / "c.toml")]
    command = [sys.executable, "-m", "tao_skill_bank.training.launcher", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "support")}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    rank = pid_in(tmp_path / "rank_0")
    process.kill()
    process.wait()
    eventually(lambda: not is_alive(rank), seconds=300)
