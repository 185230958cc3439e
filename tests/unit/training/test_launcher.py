"""Real ranks under the launcher: signals reach them, and the job ends with their exit code."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from runs import eventually, is_alive, pid_in

from tao_skill_bank.contracts import EXIT_PEER_LOST
from tao_skill_bank.errors import ConflictError
from tao_skill_bank.runs import writer_lock

pytest.importorskip("torch")

RANK = """
import os, signal, sys, time
def end(number, frame):
    open(os.path.join(sys.argv[1], "got_" + os.environ["RANK"] + "_" + signal.Signals(number).name), "w").close()
    sys.exit(75)
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, end)
open(os.path.join(sys.argv[1], "rank_" + os.environ["RANK"]), "w").close()
if sys.argv[2] == "fail" and os.environ["RANK"] == "1":
    sys.exit(3)
while sys.argv[2] != "succeed":
    time.sleep(0.02)
"""


def start(folder: Path, act: str) -> "subprocess.Popen[str]":
    script = folder / "rank.py"
    script.write_text(RANK)
    arguments = ["--standalone", "--nproc_per_node", "2", str(script), str(folder), act]
    command = [sys.executable, "-m", "tao_skill_bank.training.launcher", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_reaches_every_rank_and_their_exit_code_is_the_jobs(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, "wait")
    eventually(lambda: (tmp_path / "rank_0").exists() and (tmp_path / "rank_1").exists())
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 75
    assert any(tmp_path.glob("got_*_SIGUSR1"))  # SIGTERM is torchrun's own way to end a rank
    assert "Traceback" not in errors


@pytest.mark.slow
def test_the_code_of_the_rank_that_failed_first_is_the_jobs(tmp_path: Path) -> None:
    process = start(tmp_path, "fail")
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 3
    assert "exitcode" in errors  # torchrun's summary, which `diagnose` reads


@pytest.mark.slow
def test_nodes_that_do_not_find_each_other_are_no_fault_of_the_program(tmp_path: Path) -> None:
    (tmp_path / "rank.py").write_text("")
    meet = ["--nnodes", "2", "--node_rank", "1", "--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:9"]
    words = [*meet, "--rdzv_conf", "is_host=0,read_timeout=1", str(tmp_path / "rank.py")]
    command = [sys.executable, "-m", "tao_skill_bank.training.launcher", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert ended.returncode == EXIT_PEER_LOST
    assert "did not find each other" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_success_is_success(tmp_path: Path) -> None:
    process = start(tmp_path, "succeed")
    process.communicate(timeout=600)
    assert process.returncode == 0


@pytest.mark.slow
def test_ranks_end_with_a_killed_launcher_and_free_the_run_directory_with_their_end(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    words = ["--standalone", "--nproc_per_node", "2", "-m", "endless_training", "--config", str(tmp_path / "c.toml")]
    (tmp_path / "c.toml").write_text(f'run_dir = "{tmp_path}"\n')
    command = [sys.executable, "-m", "tao_skill_bank.training.launcher", *words]
    environment = {**os.environ, "TAO_JOB_ID": "job", "PYTHONPATH": str(Path(__file__).parents[2] / "support")}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    ranks = [pid_in(tmp_path / f"rank_{rank}") for rank in (0, 1)]
    with pytest.raises(ConflictError, match="job job"):
        writer_lock.require_free(tmp_path)
    process.kill()
    process.wait()
    eventually(lambda: not any(is_alive(rank) for rank in ranks))
    eventually(lambda: is_free(tmp_path))


def is_free(folder: Path) -> bool:
    try:
        writer_lock.require_free(folder)
    except ConflictError:
        return False
    return True
