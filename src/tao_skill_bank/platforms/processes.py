"""Processes of a job on this machine, distinguished from unrelated ones that reuse their process ids."""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psutil

# Set in the environment of every process of a job. torchrun puts its ranks into sessions of their own, so neither a
# process group nor a session holds a whole job, and an orphan has lost its parent.
JOB_VARIABLE = "TAO_JOB_ID"
START_TIME_TOLERANCE_SECONDS = 2.0
# A job's process meets these as if nobody had started it. Python ignores the first two for itself. Whoever starts a job
# may ignore or block the others, and a shell cannot trap what was ignored before it: the job could not be stopped.
DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
POLL_SECONDS = 0.05
KILL_DEADLINE_SECONDS = 10.0


def spawn(argv: tuple[str, ...], environment: dict[str, str], log_file: str, lock: int) -> psutil.Process:
    """Start a command in its own session, detached from this process, with all output in `log_file`.

    Its standard input is an open, empty file, whose `lock` it keeps until the last of its children ends.
    """
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_DUP2, lock, 0),
        (os.POSIX_SPAWN_OPEN, 1, log_file, append, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    signals: dict[str, Any] = {"setsigdef": DEFAULT_SIGNALS, "setsigmask": ()}
    return psutil.Process(os.posix_spawnp(argv[0], argv, environment, file_actions=actions, setsid=True, **signals))


def find(pid: int, start_time: float) -> psutil.Process | None:
    """Return the live process with this id and start time; None if it is gone or the id is an unrelated process's."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - start_time) > START_TIME_TOLERANCE_SECONDS:
            return None
    except psutil.Error:
        return None
    return process if _is_live(process) else None


def of_job(job_id: str) -> list[psutil.Process]:
    """Return the live processes that have the job's id in their environment, orphans included."""
    return [process for process in psutil.process_iter() if _carries(process, job_id) and _is_live(process)]


def stop(job_id: str, leader: psutil.Process | None, grace_seconds: float) -> None:
    """End every process of a job, if any: SIGTERM, a grace period, SIGKILL."""
    deadline = time.monotonic() + grace_seconds
    if leader is not None:
        # The whole process group: bash, and torchrun, which ends its ranks, or the trainer.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader.pid, signal.SIGTERM)
        _wait_until_gone({leader}, deadline)
    for number, until in (
        (signal.SIGTERM, deadline),
        (signal.SIGKILL, deadline + KILL_DEADLINE_SECONDS),
        (signal.SIGKILL, deadline + 2 * KILL_DEADLINE_SECONDS),  # processes started during the first pass
    ):
        members = _members(job_id, leader)
        _signal(members, number)
        _wait_until_gone(members, until)


def _members(job_id: str, leader: psutil.Process | None) -> set[psutil.Process]:
    members = set(of_job(job_id))
    if leader is not None:
        with suppress(psutil.Error):
            members.update(leader.children(recursive=True))
        members.add(leader)
    return {process for process in members if _is_live(process)}


def _carries(process: psutil.Process, job_id: str) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        return process.environ().get(JOB_VARIABLE) == job_id
    except (psutil.Error, OSError):
        return False


def _is_live(process: psutil.Process) -> bool:
    try:
        if not process.is_running():
            return False
        if process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return True
    except psutil.Error:
        return False
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)  # our child: release its id
    return False


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)  # psutil refuses when the id was reused


def _wait_until_gone(processes: Iterable[psutil.Process], deadline: float) -> None:
    while any(_is_live(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
