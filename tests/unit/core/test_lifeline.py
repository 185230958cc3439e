"""A child ends with the process that started it, whatever killed that one."""

import os
import subprocess
import sys

import pytest
from runs import eventually, is_alive, pid_in

from tao_skill_bank.core import lifeline, settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux sends the signal")

CHILD = """
import os, pathlib, sys, time
from tao_skill_bank.core import lifeline
if sys.argv[2] == "late":
    while os.getppid() == int(os.environ["TAO_STARTER_PID"]):
        time.sleep(0.02)
lifeline.end_with_starter()
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(600)
"""
STARTER = """
import os, subprocess, sys
from tao_skill_bank.core import lifeline
environment = {**os.environ, **lifeline.for_children()}
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], *sys.argv[2:]], env=environment)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize("when", ["running", "late"])
def test_a_child_ends_with_its_starter_also_when_it_was_late_to_ask(tmp_path, when):
    words = [sys.executable, "-c", STARTER, CHILD, str(tmp_path / "pid"), when]
    starter = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    child = int(starter.stdout.readline())
    if when == "running":
        assert pid_in(tmp_path / "pid") == child
    starter.kill()
    starter.communicate()
    eventually(lambda: not is_alive(child))
    assert (tmp_path / "pid").exists() is (when == "running")


def test_a_process_that_nobody_asked_to_end_with_its_starter_lives_on(monkeypatch):
    monkeypatch.delenv(settings.STARTER, raising=False)
    lifeline.end_with_starter()


def test_a_grandchild_that_inherits_the_variable_lives_on(monkeypatch):
    monkeypatch.setenv(settings.STARTER, "1")  # alive, and not our parent
    lifeline.end_with_starter()
    assert settings.STARTER not in os.environ  # further children do not see it
