"""Runs a job's command in one pod of Kubernetes: `python -m tao_skill_bank.training.pod OPTIONS SHELL_COMMAND`.

It is the pod's first process, the only one that receives the signal that ends a pod, and it forwards that signal. It
waits for the other pods of the job (`pod_group`), passes its config and rendezvous address to the command ($TAO_CONFIG,
$TAO_RENDEZVOUS), and ends it when another pod is lost. Its exit code decides what Kubernetes does (the Job's
podFailurePolicy): 75 (the training saved a checkpoint) and 76 (another pod was lost) restart the pod; any other
failure ends the whole job.

Output goes to the pod's log and to the run directory: logs/job.log of pod 0, logs/node_N.log of the others. Pod 0 also
prints the newest lines of status.jsonl, marked, for a launcher that cannot read the run directory, and every pod
writes the last one to its termination message.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

from tao_skill_bank.contracts import EXIT_INTERRUPTED, EXIT_PEER_LOST
from tao_skill_bank.runs.run_directory import RunDirectory, write_whole
from tao_skill_bank.training import pod_group
from tao_skill_bank.training.pod_group import Attempt, PodGroup

STATUS_MARK = "tao-status "
STATUS_FILE, EXIT_CODE_FILE = Path("status.jsonl"), Path("logs/exit_code")
POLL_SECONDS = 0.25
LIVE_SECONDS = 5.0
STATUS_SECONDS = 5.0
NAME_SECONDS = 120.0  # until a name server has the address of a restarted pod
QUIT_SECONDS = 40.0  # torchrun ends its processes within 30
SIDECAR_SECONDS = 10.0
MESSAGE_BYTES = 4000  # Kubernetes keeps 4096
STOPPED_CODES = (128 + signal.SIGTERM, 128 + signal.SIGUSR1)


@dataclass
class Pod:
    """One pod's part of a job, in the run directory as working directory."""

    options: argparse.Namespace
    group: PodGroup
    is_stopped: bool = False
    child: subprocess.Popen[bytes] | None = None
    sidecar: subprocess.Popen[bytes] | None = None
    _copying: dict[int, threading.Thread] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _reported: dict[str, Any] = field(default_factory=dict)
    _reported_at: float = 0.0

    def run(self) -> int:
        """Run the fetches, then the command together with the other pods, and return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)
        is_fetching = self.group.index == 0 or not self.options.fetch_once
        for uri, folder in (self.options.fetch or ()) if is_fetching else ():
            code = self._wait([sys.executable, "-m", "tao_skill_bank.training.fetch", uri, folder], {})
            if code != 0:
                return EXIT_INTERRUPTED if self.is_stopped else code
        self.group.join()
        attempt = self.group.meet(lambda: any(Path("checkpoints").glob("*")), lambda: self.is_stopped)
        if attempt is None:
            return EXIT_INTERRUPTED
        if self.group.index == 0:
            EXIT_CODE_FILE.unlink(missing_ok=True)
        start = STATUS_FILE.stat().st_size if STATUS_FILE.is_file() else 0
        if self.options.sidecar and self.group.index == 0:
            self.sidecar = self._start(["bash", "-c", f"exec {self.options.sidecar}"], {})
        code = self._wait(["bash", "-c", self.options.command], self._environment(attempt), attempt)
        if self.is_stopped and self.options.restart_config and code in STOPPED_CODES and not _has_stepped(start):
            code = EXIT_INTERRUPTED  # the signal came before the trainer handled signals: nothing is lost
        return code

    def record(self, code: int) -> None:
        """Record the exit code in the run directory, for the other pods, and in the termination message."""
        self._report(is_last=True)
        for write in (self._write_exit_code, self._write_message, self.group.end):
            with suppress(OSError):  # a full disk must not hide the exit code itself
                write(code)

    def finish(self, code: int) -> None:
        """End the sidecar of pod 0, and run the command that follows, unless the job is to be restarted."""
        if self.sidecar is not None:
            self.sidecar.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.sidecar.wait(SIDECAR_SECONDS)
        if self.options.afterwards and self.group.index == 0 and code != EXIT_PEER_LOST:
            self._start(["bash", "-c", f"exec {self.options.afterwards}"], {}).wait()

    def _environment(self, attempt: Attempt) -> dict[str, str]:
        resumes = attempt.resumes and self.options.restart_config
        config = self.options.restart_config if resumes else self.options.config
        self._say(f"Attempt {attempt.number} of {self.group.nodes} pod(s){', resumed' if resumes else ''}.")
        environment = {"TAO_CONFIG": config}
        if self.options.host is not None:
            environment["TAO_RENDEZVOUS"] = f"{self._meeting_point(attempt)}:{self.options.port}"
        return environment

    def _meeting_point(self, attempt: Attempt) -> str:
        """Return the name of pod 0 once it resolves to the pod of this attempt, else its address."""
        name: str = self.options.host
        deadline = time.monotonic() + NAME_SECONDS
        while not self.is_stopped and time.monotonic() < deadline:
            with suppress(OSError):
                if attempt.address in {found[4][0] for found in socket.getaddrinfo(name, None)}:
                    return name
            self.group.live()
            time.sleep(POLL_SECONDS)
        self._say(f"The name {name} does not resolve to {attempt.address}; using the address.")
        return f"[{attempt.address}]" if ":" in attempt.address else attempt.address

    def _wait(self, words: Sequence[str], environment: dict[str, str], attempt: Attempt | None = None) -> int:
        """Run a command to its end; with an `attempt`, end it when a peer is lost."""
        self.child = self._start(words, environment)
        if self.is_stopped:  # while it was started
            self.child.terminate()
        lived_at, is_lost = 0.0, False
        while self.child.poll() is None:
            time.sleep(POLL_SECONDS)
            if attempt is None or time.monotonic() - lived_at < LIVE_SECONDS:
                continue
            lived_at = time.monotonic()
            self.group.live()
            self._report()
            if (what := self.group.lost(attempt)) is not None:
                self._say(f"{what} This attempt ends; the job is restarted.")
                self._quit(self.child)
                is_lost = True
        self._copying[self.child.pid].join(timeout=5)  # processes that outlive the command may hold the pipe open
        if is_lost:
            return EXIT_PEER_LOST
        code = self.child.returncode
        if code == -signal.SIGABRT and attempt is not None and self._lost_soon(attempt):
            return EXIT_PEER_LOST  # NCCL aborts a process whose peer is gone
        return 128 - code if code < 0 else code

    def _start(self, words: Sequence[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        """Start a command whose output is copied to the log."""
        child = subprocess.Popen(
            words, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert child.stdout is not None
        self._copying[child.pid] = threading.Thread(target=self._copy, args=(child.stdout,), daemon=True)
        self._copying[child.pid].start()
        return child

    def _lost_soon(self, attempt: Attempt) -> bool:
        """Return whether a peer turns out to be lost; its last heartbeat may still be recent."""
        deadline = time.monotonic() + pod_group.LOST_SECONDS + 2 * LIVE_SECONDS
        while self.group.nodes > 1 and not self.is_stopped and time.monotonic() < deadline:
            if self.group.lost(attempt) is not None:
                return True
            self.group.live()
            time.sleep(POLL_SECONDS)
        return False

    @staticmethod
    def _quit(child: subprocess.Popen[bytes]) -> None:
        """End a command whose processes may hang: SIGTERM would make them save, for which all of them are needed."""
        child.send_signal(signal.SIGQUIT)
        try:
            child.wait(QUIT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a handler
        self.is_stopped = True
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()

    def _copy(self, source: IO[bytes]) -> None:
        for line in source:
            self._write(line)

    def _say(self, text: str) -> None:
        self._write(f"{text}\n".encode())

    def _write(self, line: bytes) -> None:
        name = "job.log" if self.group.index == 0 else f"node_{self.group.index}.log"
        with self._lock:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            with suppress(OSError), Path("logs", name).open("ab") as file:
                file.write(line)

    def _report(self, *, is_last: bool = False) -> None:
        """Print the newest line of status.jsonl, at most every STATUS_SECONDS."""
        if self.group.index != 0 or not (is_last or time.monotonic() - self._reported_at >= STATUS_SECONDS):
            return
        line = RunDirectory(Path()).last_status()
        if line and line != self._reported:
            self._reported, self._reported_at = line, time.monotonic()
            with self._lock:
                sys.stdout.buffer.write(f"{STATUS_MARK}{json.dumps(line)}\n".encode())
                sys.stdout.buffer.flush()

    def _write_exit_code(self, code: int) -> None:
        """Record the code of the pod that failed first, whatever the others end with afterwards."""
        failed = code not in (0, EXIT_INTERRUPTED, EXIT_PEER_LOST)
        if failed or (self.group.index == 0 and code != EXIT_PEER_LOST and not EXIT_CODE_FILE.exists()):
            write_whole(EXIT_CODE_FILE, f"{code}\n")

    def _write_message(self, code: int) -> None:
        status = RunDirectory(Path()).last_status()
        text = json.dumps({"exit_code": code, "status": status})
        if len(text.encode()) > MESSAGE_BYTES:
            kept = {name: status[name] for name in ("state", "step", "total") if name in status}
            cause = str((status.get("diagnosis") or {}).get("cause") or status.get("message") or "")
            text = json.dumps({"exit_code": code, "status": {**kept, "message": cause[: MESSAGE_BYTES // 8]}})
        Path(self.options.termination_log).write_text(text, encoding="utf-8")


def _has_stepped(start: int) -> bool:
    """Return whether the trainer reported a step since status.jsonl had `start` bytes."""
    try:
        with STATUS_FILE.open("rb") as file:
            file.seek(start)
            return b'"state": "RUNNING"' in file.read()
    except OSError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", required=True)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--config", required=True, help="config that the command reads")
    parser.add_argument("--restart-config", help="config that it reads instead when it resumes from a checkpoint")
    parser.add_argument("--host", help="name of pod 0, the rendezvous host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--fetch", nargs=2, action="append", metavar=("URI", "FOLDER"))
    parser.add_argument("--fetch-once", action="store_true", help="only pod 0 fetches: the pods share the folder")
    parser.add_argument("--termination-log", default="/dev/termination-log")
    parser.add_argument("--beside", dest="sidecar", help="bash command that pod 0 runs while the command runs")
    parser.add_argument(
        "--afterwards", help="bash command that pod 0 runs after the command; it does not change the exit code"
    )
    parser.add_argument("command", help="bash command; $TAO_CONFIG and $TAO_RENDEZVOUS are set for it")
    options = parser.parse_args(arguments)
    index = int(os.environ.get("JOB_COMPLETION_INDEX", "0"))
    address = os.environ.get("TAO_POD_IP") or socket.gethostbyname(socket.gethostname())
    uid = os.environ["TAO_POD_UID"]
    pod = Pod(options, PodGroup(Path("logs", f"pods.{options.job}"), index, options.nodes, uid, address))
    code = pod.run()
    pod.record(code)
    pod.finish(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
