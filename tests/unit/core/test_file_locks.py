"""One process at a time, on file systems with and without locks."""

import errno
import fcntl
import json
import os
import subprocess
import sys

import pytest

from tao_skill_bank.core import file_locks, own_process
from tao_skill_bank.core.file_locks import Outcome

ADD = """
import errno, fcntl, os, sys
from pathlib import Path
from tao_skill_bank.core import file_locks
if sys.argv[2] == "none":
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")
    fcntl.flock = refuse
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    with file_locks.exclusive(descriptor, folder / "lock"):
        number = int((folder / "number").read_text())
        (folder / "number").write_text(str(number + 1))
    os.close(descriptor)
"""


@pytest.fixture(params=sorted(file_locks.UNSUPPORTED))
def without_locks(request, monkeypatch):
    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.parametrize("locks", ["flock", "none"])
def test_processes_that_count_together_lose_no_number(tmp_path, locks):
    (tmp_path / "number").write_text("0")
    words = [sys.executable, "-c", ADD, str(tmp_path), locks]
    started = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)]
    for process in started:
        assert process.stdout.readline() == b"ready\n"
    for process in started:
        process.communicate(b"\n", timeout=300)
        assert process.returncode == 0
    assert (tmp_path / "number").read_text() == "60"
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "number"}


def test_a_lock_is_held_as_long_as_a_child_has_the_open_file(tmp_path):
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    assert file_locks.take(descriptor) is Outcome.TAKEN
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[descriptor])
    os.close(descriptor)
    again = os.open(tmp_path / "lock", os.O_RDWR)
    assert file_locks.take(again) is Outcome.HELD
    child.kill()
    child.communicate()
    assert file_locks.take(again) is Outcome.TAKEN
    os.close(again)


@pytest.mark.usefixtures("without_locks")
def test_a_file_system_without_locks_is_noticed_and_nothing_is_written(tmp_path):
    assert not file_locks.has_locks(tmp_path)
    assert not list(tmp_path.iterdir())


def test_this_file_system_has_locks_and_a_folder_that_is_gone_is_not_judged(tmp_path):
    assert file_locks.has_locks(tmp_path)
    assert file_locks.has_locks(tmp_path / "absent")
    assert not list(tmp_path.iterdir())


def test_any_other_error_of_a_lock_is_raised(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with (tmp_path / "lock").open("w") as file, pytest.raises(OSError, match="Input/output"):
        file_locks.take(file.fileno())


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize(("age", "machine"), [(0, None), (2 * file_locks.STALE_SECONDS, "another machine")])
def test_the_owner_file_of_a_killed_owner_is_no_obstacle(tmp_path, age, machine):
    owner = tmp_path / ".lock.owner"
    owner.write_text(
        json.dumps({**own_process.identity(), "pid": 2**22 + 1, **({"machine": machine} if machine else {})})
    )
    os.utime(owner, (owner.stat().st_atime, owner.stat().st_mtime - age))
    with (tmp_path / "lock").open("w") as file, file_locks.exclusive(file.fileno(), tmp_path / "lock"):
        assert json.loads(owner.read_text())["pid"] == os.getpid()
    assert not owner.exists()


@pytest.mark.parametrize("who", ["this process", "a fresh one of another machine"])
def test_a_live_owner_is_left_alone(tmp_path, who):
    owner = tmp_path / ".lock.owner"
    owner.write_text(json.dumps({**own_process.identity(), **({"machine": "b"} if "another" in who else {})}))
    file_locks._remove_stale(owner)
    assert owner.exists()
