"""A run directory has one job's writers at a time, as long as one of their processes lives."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from contextlib import closing

import pytest

from tao_skill_bank.core import own_process
from tao_skill_bank.errors import ConflictError
from tao_skill_bank.platforms import processes
from tao_skill_bank.runs import fencing, writer_lock

HOLD = """
import sys
from pathlib import Path
from tao_skill_bank.runs import fencing, writer_lock
with writer_lock.joined(Path(sys.argv[1])):
    fencing.begin(Path(sys.argv[1]))
    print("held", flush=True)
    open(sys.argv[2]).read()
"""


@pytest.fixture
def other(tmp_path):
    """Have another process hold the lock of a run directory; returns it."""
    started = []

    def hold(folder, job_id):
        pipe = tmp_path / f"end {len(started)}"
        os.mkfifo(pipe)
        environment = {**os.environ, "TAO_JOB_ID": job_id}
        words = [sys.executable, "-c", HOLD, str(folder), str(pipe)]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, env=environment))
        assert started[-1].stdout.readline() == b"held\n"
        return started[-1]

    yield hold
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def without_locks(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def write_holder(folder, **changes):
    document = {"epoch": 1, "token": "t", "job_id": "first", **own_process.identity(), **changes}
    (folder / fencing.FILE).write_text(json.dumps(document))


def test_a_second_writer_is_refused_with_the_job_that_writes_and_let_in_when_it_was_killed(folder, other):
    process = other(folder, "first")
    for attempt in (writer_lock.take, writer_lock.require_free):
        with pytest.raises(ConflictError, match="still written by a process of job first") as error:
            attempt(folder)
        assert "tao-skills cancel first" in error.value.problems[0].fix
    process.kill()
    process.wait()
    writer_lock.require_free(folder)
    with closing(writer_lock.take(folder)):
        pass


def test_a_child_of_a_killed_writer_keeps_the_lock(folder):
    with closing(writer_lock.take(folder)) as lock:
        words = ("bash", "-c", f"{sys.executable} -c 'import sys, time; print(1, flush=True); time.sleep(600)'; true")
        leader = processes.spawn(words, dict(os.environ), str(folder / "log"), lock.descriptor)
    while not (folder / "log").read_text():
        pass
    (child,) = leader.children()
    leader.kill()
    leader.wait()
    with pytest.raises(ConflictError):
        writer_lock.require_free(folder)
    child.kill()
    child.wait()
    writer_lock.require_free(folder)


def test_a_process_that_inherited_the_lock_does_not_wait_for_itself(folder):
    with writer_lock.joined(folder), writer_lock.joined(folder):
        finished = subprocess.run(
            [sys.executable, "-c", HOLD.replace("open(sys.argv[2]).read()", "''"), str(folder)], check=False
        )
        assert finished.returncode == 0
        with pytest.raises(ConflictError):
            writer_lock.require_free(folder)
    writer_lock.require_free(folder)


@pytest.mark.parametrize(
    ("job_id", "machine", "is_refused"),
    [
        ("second", None, True),
        ("", None, True),
        ("first", None, False),  # another node of the same job, on this machine
        ("second", "another machine", False),  # it may be lost; the later start supersedes it
    ],
)
def test_joining_is_refused_only_by_another_jobs_process_of_this_machine(
    folder, other, monkeypatch, job_id, machine, is_refused
):
    other(folder, "first")
    if machine:
        write_holder(folder, machine=machine)
    monkeypatch.setenv("TAO_JOB_ID", job_id)
    if is_refused:
        with pytest.raises(ConflictError), writer_lock.joined(folder):
            pass
        return
    with writer_lock.joined(folder):
        pass


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize(
    ("holder", "lines", "age", "evidence"),
    [
        ({}, ["RUNNING"], 0, "is alive"),
        ({"pid": 2**22 + 1}, ["RUNNING"], 0, None),
        ({"machine": "another machine"}, ["RUNNING"], 30, "wrote there 3"),
        ({"machine": "another machine"}, ["RUNNING"], 2 * writer_lock.RECENT_SECONDS, None),
        ({"machine": "another machine"}, ["RUNNING", "SUCCESS"], 30, None),
        (None, ["RUNNING"], 30, None),
    ],
)
def test_without_locks_a_second_writer_is_refused_on_what_speaks_for_the_first(folder, holder, lines, age, evidence):
    if holder is not None:
        write_holder(folder, **holder)
    (folder / "status.jsonl").write_text("".join(json.dumps({"state": state}) + "\n" for state in lines))
    written_at = (folder / "status.jsonl").stat().st_mtime - age
    os.utime(folder / "status.jsonl", (written_at, written_at))
    writer_lock.require_free(folder)  # it knows locks alone
    if evidence is None:
        with closing(writer_lock.take(folder)) as lock:
            assert not lock.is_real
        return
    with pytest.raises(ConflictError, match=evidence) as error:
        writer_lock.take(folder)
    assert "no locks" in error.value.problems[0].message
    assert "tao-skills cancel first" in error.value.problems[0].fix
