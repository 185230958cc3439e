"""A process's identity tells later whether it still lives."""

import os
import subprocess
import sys

import psutil
import pytest

from tao_skill_bank.core import own_process


def test_this_process_is_alive():
    assert own_process.is_alive(own_process.identity()) is True


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"machine": "another"}, None),
        ({"start_time": 1.0}, False),
        ({"pid": None}, False),
        ({"pid": "x"}, False),
    ],
)
def test_an_unrelated_process_or_machine_is_not_taken_for_it(changes, expected):
    assert own_process.is_alive({**own_process.identity(), **changes}) is expected


def test_a_killed_process_is_dead_before_and_after_it_is_reaped():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = {**own_process.identity(), "pid": child.pid, "start_time": psutil.Process(child.pid).create_time()}
    assert own_process.is_alive(found) is True
    child.kill()
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert own_process.is_alive(found) is False
    child.wait()
    assert own_process.is_alive(found) is False
