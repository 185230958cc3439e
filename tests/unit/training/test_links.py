"""Processes that find out whether they reach each other: real ones, under torchrun."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

# `patch` is what a rank does or breaks before it joins.
PROGRAM = """
import logging, os, sys, time
from datetime import timedelta
import torch, torch.distributed as dist
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.training import distributed, links
logging.basicConfig(level=logging.INFO, format="%(message)s")
rank = int(os.environ["RANK"])
connect = dist.init_process_group
{patch}
try:
    links.join(torch.device("cpu"), timedelta(minutes=20), arrival_seconds={arrival}, exchange_seconds={exchange})
    print("joined", dist.get_world_size(), flush=True)
    time.sleep(1)  # a rank that leaves at once may cut off what the other one still reads
    distributed.stop()
except TaoSkillsError as error:
    print("refused", error.problems[0].code, error, error.problems[0].fix, flush=True)
    distributed.leave(6)
"""


def run(folder: Path, patch: str = "", *, arrival: float = 600, exchange: float = 600) -> tuple[int, str]:
    """Run the program as two processes; return the exit code and all that was printed."""
    program = folder / "program.py"
    program.write_text(PROGRAM.format(patch=textwrap.dedent(patch), arrival=arrival, exchange=exchange))
    command = [sys.executable, "-m", "tao_skill_bank.training.launcher", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(program)], env=environment, capture_output=True, text=True, timeout=1200, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_processes_that_reach_each_other_join_and_the_log_says_how_fast(tmp_path: Path) -> None:
    code, told = run(tmp_path)
    assert code == 0, told
    assert told.count("joined 2") == 2
    assert told.count("GiB/s of gloo") == 1


@pytest.mark.slow
def test_a_process_that_does_not_come_is_named(tmp_path: Path) -> None:
    code, told = run(tmp_path, "if rank == 1: time.sleep(900)", arrival=4)
    assert code == 6, told
    assert "refused rank_missing Of 2 processes, rank 1 did not start within 4 s" in told


@pytest.mark.slow
def test_an_exchange_that_hangs_ends_long_before_a_collective_would(tmp_path: Path) -> None:
    patch = """
    if rank == 1:
        dist.init_process_group = lambda *_, **__: time.sleep(900)
    """
    began = time.monotonic()
    code, told = run(tmp_path, patch, exchange=4)
    assert (code, time.monotonic() - began < 900) == (6, True), told
    assert "refused links_stalled" in told
    assert "NCCL_P2P_DISABLE=1" in told, "two processes of one machine"


@pytest.mark.slow
def test_a_sum_that_is_wrong_is_not_trained_with(tmp_path: Path) -> None:
    patch = """
    def connect_and_break(*words, **named):
        connect(*words, **named)
        summed = dist.all_reduce
        dist.all_reduce = lambda tensor: summed(tensor.mul_(3) if rank == 1 else tensor)
    dist.init_process_group = connect_and_break
    """
    code, told = run(tmp_path, patch)
    assert code == 6, told
    assert "refused wrong_sum" in told
