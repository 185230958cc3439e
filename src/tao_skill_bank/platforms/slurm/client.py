"""Slurm's own commands, here or on a login node, and the meaning of their answers."""

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tao_skill_bank.contracts import State
from tao_skill_bank.core import settings
from tao_skill_bank.errors import BackendError, Problem

TIMEOUT_SECONDS = 60.0
SSH_FAILED = 255
SIGNALED = 128
ErrorClass = Literal["ERR_INFRA", "ERR_PROGRAM"]

# Slurm's states to ours; a job in any other state that is still listed runs.
STATES: dict[str, tuple[State, ErrorClass | None]] = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUED"), (State.PENDING, None)),
    **dict.fromkeys(("RUNNING", "COMPLETING", "SUSPENDED"), (State.RUNNING, None)),
    "COMPLETED": (State.COMPLETE, None),
    **dict.fromkeys(("FAILED", "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY"), (State.ERROR, "ERR_PROGRAM")),
    **dict.fromkeys(("NODE_FAIL", "BOOT_FAIL", "PREEMPTED"), (State.ERROR, "ERR_INFRA")),
    **dict.fromkeys(("CANCELLED", "REVOKED"), (State.CANCELED, None)),
}

# The refusals of sbatch: (pattern, code, message, fix, option).
REFUSALS = (
    (r"invalid partition", "unknown_partition", "Slurm has no such partition for you.", "See: sinfo -s", "partition"),
    (r"invalid account|account or account/partition", "unknown_account",
     "Slurm refuses the account, or the account in this partition.",
     "See yours: sacctmgr show associations user=$USER format=account,partition,qos", "account"),
    (r"invalid qos", "unknown_qos", "Slurm refuses the quality of service.",
     "See yours: sacctmgr show associations user=$USER format=account,qos", "qos"),
    (r"accounting/qos policy|qosmax|qosgrp|assocmax|assocgrp", "quota_reached",
     "A limit of the account or the quality of service is reached.",
     "Wait for other jobs of yours to end, or ask the cluster's operators: sacctmgr show qos", "qos"),
    (r"time limit", "time_limit_exceeded", "The time limit is missing or above what the partition allows.",
     "Lower --option time_limit; see the limits: sinfo -o '%R %l'", "time_limit"),
    (r"invalid feature", "unknown_constraint", "No node has what --option constraint asks for.",
     "See the nodes' features: sinfo -o '%n %f'", "constraint"),
    (r"invalid node name", "unknown_node", "A node to exclude does not exist.", "See the nodes: sinfo -N", "exclude"),
    (r"generic resource|gres", "no_such_gpus", "No node of the partition has the GPUs that are asked for.",
     "Lower platform.gpus, or choose a partition with such nodes: sinfo -o '%R %D %G'", "gpus"),
    (r"requested node configuration|node count|more processors|requested partition configuration|memory|nodes are busy",
     "no_such_nodes", "The partition cannot give the nodes, cores or memory that are asked for.",
     "Lower platform.nodes, --option cpus_per_task or --option mem; see: sinfo -o '%R %D %c %m %G %T'", "nodes"),
)  # fmt: skip


@dataclass(frozen=True)
class Listed:
    """One line of squeue, sacct or scontrol. `ended_at` is seconds since 1970 where the job has ended."""

    number: str
    word: str
    reason: str = ""
    exit_code: int | None = None
    ended_at: float | None = None

    @property
    def meaning(self) -> tuple[State, ErrorClass | None]:
        return STATES.get(self.word, (State.RUNNING, None))


@dataclass(frozen=True)
class Cluster:
    """Where the commands run: here, or on a login node."""

    host: str | None = None

    def argv(self, *words: str) -> tuple[str, ...]:
        """Return the command as this machine starts it."""
        return words if self.host is None else ("ssh", "-o", "BatchMode=yes", self.host, shlex.join(words))

    def call(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its exit code.

        Raises:
            BackendError: it could not be started, it gave no answer in time, or ssh failed.

        """
        return self.start(self.argv(*words), words[0], stdin)

    def start(self, argv: Sequence[str], name: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run an argv that `argv` returned; see `call`."""
        environment = settings.child_environment(SLURM_TIME_FORMAT="%s")
        try:
            done = subprocess.run(
                argv, input=stdin or "", env=environment, capture_output=True, text=True, errors="replace", check=False,
                timeout=TIMEOUT_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            message = f"{name} gave no answer within {TIMEOUT_SECONDS:.0f} s{self._where}."
            raise BackendError.of("slurm_no_answer", message, "Ask again later: scontrol ping", path=name) from None
        except OSError as error:
            message = f"{argv[0]} cannot be started here: {error.strerror}."
            fix = "Install Slurm's commands, or reach a login node by ssh: --option host=USER@LOGIN_NODE"
            raise BackendError.of("slurm_missing", message, fix, path=argv[0]) from None
        if self.host is not None and done.returncode == SSH_FAILED:
            message = f"ssh to {self.host} failed: {done.stderr.strip()}"
            fix = f"See that this works without a password: ssh -o BatchMode=yes {self.host} true"
            raise BackendError.of("ssh_failed", message, fix, path="platform.options.host")
        return done

    def ask(self, *words: str) -> str:
        """Return what a command prints. Raises BackendError when it fails."""
        done = self.call(*words)
        if done.returncode != 0:
            raise self.unreachable(words[0], done.stderr)
        return done.stdout

    def active(self, name: str) -> Listed | None:
        """Return the job as squeue lists it; None when it is not in the queue."""
        return self._queued("squeue", "--noheader", f"--name={name}", "--format=%A|%T|%r")

    def find(self, name: str, since: str) -> Listed | None:
        """Return a job by its name, ended ones included; `since` is when it was submitted, in ISO 8601."""
        listed = self._queued("squeue", "--noheader", f"--name={name}", "--states=all", "--format=%A|%T|%r")
        day = datetime.fromisoformat(since).date() - timedelta(days=1)  # the cluster's clock may be in another zone
        return listed or self._accounted(f"--name={name}", f"--starttime={day.isoformat()}")

    def ended(self, name: str, number: str) -> Listed | None:
        """Return a job that squeue no longer lists, from the accounting, else from the memory of the controller."""
        return self._accounted(f"--jobs={number}", f"--name={name}") or self._remembered(name, number)

    def unreachable(self, command: str, stderr: str) -> BackendError:
        message = f"{command} failed{self._where}: {_last_line(stderr) or 'no error message'}"
        fix = "See that the cluster is up and you may use it: scontrol ping"
        return BackendError.of("slurm_unreachable", message, fix, path=command)

    @property
    def _where(self) -> str:
        return f" on {self.host}" if self.host else ""

    def _queued(self, *words: str) -> Listed | None:
        lines = self.ask(*words).splitlines()
        if not lines:
            return None
        number, word, reason = lines[-1].split("|", 2)
        return Listed(number, word, "" if reason == "None" else reason)

    def _accounted(self, *filters: str) -> Listed | None:
        flags = ("--noheader", "--parsable2", "--allocations", "--format=JobIDRaw,State,ExitCode,End")
        done = self.call(*self._timed, "sacct", *flags, *filters)
        lines = done.stdout.splitlines() if done.returncode == 0 else []  # a failure means: no accounting
        if not lines:
            return None
        number, state, code, end = lines[-1].split("|", 3)
        return Listed(number, _word(state), "", _exit_code(code), _epoch(end))

    def _remembered(self, name: str, number: str) -> Listed | None:
        done = self.call(*self._timed, "scontrol", "show", "job", number, "--oneliner")
        found = dict(re.findall(r"(\w+)=(\S*)", done.stdout))
        if done.returncode != 0 or found.get("JobName") != name:  # the job is purged, or its number was reused
            return None
        return Listed(number, _word(found["JobState"]), "", _exit_code(found["ExitCode"]), _epoch(found["EndTime"]))

    @property
    def _timed(self) -> tuple[str, ...]:
        """Return the prefix that sets the format of times, as ssh does not pass the environment on."""
        return () if self.host is None else ("env", "SLURM_TIME_FORMAT=%s")


def refusal(stderr: str) -> Problem | None:
    """Return why sbatch refuses a request; None when the cause is not the request."""
    text = _last_line(stderr)
    for pattern, code, message, fix, option in REFUSALS:
        if re.search(pattern, text, re.IGNORECASE):
            where = f"platform.{option}" if option in ("nodes", "gpus") else f"platform.options.{option}"
            return Problem(code, f"{message} sbatch reports: {text}", fix, where)
    return None


def is_unreachable(stderr: str) -> bool:
    """Return whether a command failed because the controller did not answer, so that what it did is not known."""
    return not stderr.strip() or bool(re.search(r"contact slurm controller|timed out|connection|socket", stderr, re.I))


def _last_line(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return re.sub(r"^\w+: (?:error: )?", "", lines[-1]) if lines else ""


def _word(state: str) -> str:
    """Return the state of `CANCELLED by 0` or `CANCELLED+`."""
    return (state.split(maxsplit=1) or [""])[0].rstrip("+")


def _exit_code(text: str) -> int | None:
    """Return the exit code of `CODE:SIGNAL`; None where the text has none."""
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if found is None:
        return None
    code, signal = int(found[1]), int(found[2])
    return SIGNALED + signal if signal else code


def _epoch(text: str) -> float | None:
    return float(text) if text.isdigit() else None
