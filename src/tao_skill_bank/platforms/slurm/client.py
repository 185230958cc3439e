"""Slurm's own commands, here or on a login node."""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tao_skill_bank.core import settings
from tao_skill_bank.errors import BackendError
from tao_skill_bank.platforms import answers
from tao_skill_bank.platforms.slurm import refusals, rows
from tao_skill_bank.platforms.slurm.rows import Listed

TIMEOUT_SECONDS = 60.0
SSH_FAILED = 255
MISSING_FIX = "Install Slurm's commands, or reach a login node by ssh: --option host=USER@LOGIN_NODE"


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
            raise BackendError.of("slurm_missing", message, MISSING_FIX, path=argv[0]) from None
        if self.host is not None and done.returncode == SSH_FAILED:
            message = f"ssh to {self.host} failed: {answers.words(done.stderr)}"
            fix = f"See that this works without a password: ssh -o BatchMode=yes {self.host} true"
            raise BackendError.of("ssh_failed", message, fix, path="platform.options.host")
        return done

    def require_started(self, done: subprocess.CompletedProcess[str], name: str) -> None:
        """Raise BackendError when a shell could not start the command."""
        if refusals.is_missing(done.returncode, done.stderr):
            message = f"{name} cannot be started{self._where}: {answers.words(done.stderr) or 'no error message'}"
            raise BackendError.of("slurm_missing", message, MISSING_FIX, path=name)

    def ask(self, *words: str) -> str:
        """Return what a command prints. Raises BackendError when it fails."""
        done = self.call(*words)
        self.require_started(done, words[0])
        if done.returncode != 0:
            raise self.unreachable(words[0], done.stderr)
        return done.stdout

    def active(self, name: str) -> Listed | None:
        """Return the job as squeue lists it; None when it is not in the queue. Raises BackendError."""
        return rows.queued(self.ask("squeue", f"--name={name}", f"--format={rows.QUEUE_FORMAT}"))

    def find(self, name: str, since: str) -> Listed | None:
        """Return a job by its name, ended ones included; `since` is when it was submitted, in ISO 8601."""
        listed = self.ask("squeue", f"--name={name}", "--states=all", f"--format={rows.QUEUE_FORMAT}")
        day = datetime.fromisoformat(since).date() - timedelta(days=1)  # the cluster's clock may be in another zone
        return rows.queued(listed) or rows.accounted(self._accounts(f"--name={name}", f"--starttime={day.isoformat()}"))

    def ended(self, name: str, number: str) -> Listed | None:
        """Return a job that squeue no longer lists, from the accounting, else from the memory of the controller.

        Raises:
            BackendError: the commands could not be started, or neither answers in a form that is known.

        """
        accounts = self._accounts(f"--jobs={number}", f"--name={name}")
        found = rows.accounted(accounts)
        if found is None:
            done = self.call(*self._timed, "scontrol", "show", "job", number, "--oneliner")
            found = rows.remembered(done.stdout, name, number) if done.returncode == 0 else None
        if found is None and accounts.strip():
            raise rows.odd("sacct", accounts)
        return found

    def unreachable(self, command: str, stderr: str) -> BackendError:
        said = answers.words(refusals.said(stderr)) or "no error message"
        message = f"{command} failed{self._where}: {said}"
        fix = "See that the cluster is up and you may use it: scontrol ping"
        return BackendError.of("slurm_unreachable", message, fix, path=command)

    @property
    def _where(self) -> str:
        return f" on {self.host}" if self.host else ""

    def _accounts(self, *filters: str) -> str:
        """Return what sacct prints; nothing where it fails, which means: no accounting."""
        flags = ("--noheader", "--parsable2", "--allocations", f"--format={rows.ACCOUNT_FORMAT}")
        done = self.call(*self._timed, "sacct", *flags, *filters)
        return done.stdout if done.returncode == 0 else ""

    @property
    def _timed(self) -> tuple[str, ...]:
        """Return the prefix that sets the format of times, as ssh does not pass the environment on."""
        return () if self.host is None else ("env", "SLURM_TIME_FORMAT=%s")
