"""The `docker` command, for a local or remote daemon, and the meaning of its answers."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pydantic

from tao_skill_bank.core import settings
from tao_skill_bank.errors import BackendError
from tao_skill_bank.platforms import answers
from tao_skill_bank.platforms.answers import RefusedError
from tao_skill_bank.platforms.docker import options, refusals
from tao_skill_bank.platforms.docker.render import LABEL

TIMEOUT_SECONDS = 60.0
ACTIVE = ("created", "restarting", "running", "paused")
ENDPOINT = "{{.Name}} {{.Endpoints.docker.Host}}"


@dataclass(frozen=True)
class Container:
    """A container as `docker container inspect` reports it, or as it was saved when it ended."""

    id: str
    status: str
    exit_code: int
    oom_killed: bool
    error: str
    finished_at: str
    label: str
    output: str = ""  # its last lines, where it ended

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def saved_container(document: Mapping[str, Any]) -> Container | None:
    """Return how a container ended, as `to_json` gave it; None for any other document."""
    try:
        return pydantic.TypeAdapter(Container).validate_python(document)
    except pydantic.ValidationError:
        return None


@dataclass(frozen=True)
class Daemon:
    """Which daemon is asked; without a host and a context, the one that the environment names."""

    host: str | None = None
    context: str | None = None

    @classmethod
    def current(cls, host: str | None) -> "Daemon":
        """Return the daemon that `host`, $DOCKER_HOST or the context of the user means, in a form to record."""
        host = host or settings.docker_host()
        if host is not None:
            return cls(host)
        name, _, endpoint = cls().ask("context", "inspect", "--format", ENDPOINT).strip().partition(" ")
        needs_keys = endpoint.startswith(options.TCP)  # which are in the context
        return cls(None, name) if needs_keys else cls(endpoint or None)

    @property
    def is_remote(self) -> bool:
        return self.context is not None or options.is_remote(self.host)

    def argv(self, *words: str) -> tuple[str, ...]:
        """Return the command as this machine starts it."""
        where = ("--host", self.host) if self.host else ("--context", self.context) if self.context else ()
        return ("docker", *where, *words)

    def call(self, *words: str, timeout_seconds: float = TIMEOUT_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its exit code.

        Raises:
            BackendError: it could not be started, or gave no answer in time.

        """
        return self.start(self.argv(*words), timeout_seconds)

    def start(self, argv: Sequence[str], timeout_seconds: float = TIMEOUT_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run an argv of docker; see `call`. In a session of its own, no ssh below it can ask for a password."""
        environment = settings.child_environment(DOCKER_CLI_HINTS="false", SSH_ASKPASS_REQUIRE="never")
        try:
            return subprocess.run(
                argv, stdin=subprocess.DEVNULL, env=environment, capture_output=True, text=True, errors="replace",
                check=False, timeout=timeout_seconds, start_new_session=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            message = f"docker gave no answer within {timeout_seconds:.0f} s{self._where}."
            raise BackendError.of("docker_no_answer", message, "Ask again later: docker info", path="docker") from None
        except OSError as error:
            message = f"docker cannot be started here: {error.strerror}."
            fix = "Install Docker's command (Debian: apt-get install docker.io), or use platform local"
            raise BackendError.of("docker_missing", message, fix, path="docker") from None

    def ask(self, *words: str) -> str:
        """Return what a command prints. Raises BackendError when it fails."""
        done = self.call(*words)
        if done.returncode != 0:
            raise self.failure(done.stderr)
        return done.stdout

    def inspect(self, name: str) -> Container | None:
        """Return a container by its name or id; None when the daemon has none."""
        done = self.call("container", "inspect", name)
        if done.returncode == 0:
            return _container(document(done.stdout))
        if refusals.is_absent(done.stderr):
            return None
        raise self.failure(done.stderr)

    def has(self, kind: str, name: str) -> bool:
        """Return whether the daemon has an image or a network. Raises BackendError when it cannot be asked."""
        done = self.call(kind, "inspect", "--format", "{{.Id}}", name)
        if done.returncode != 0 and not refusals.is_absent(done.stderr):
            raise self.failure(done.stderr)
        return done.returncode == 0

    def failure(self, stderr: str) -> BackendError:
        """Return the error of a command that the daemon did not carry out."""
        text = answers.words(refusals.said(stderr)) or "no error message"
        if refusals.is_answered(stderr):
            return RefusedError([refusals.refusal(stderr)])
        if refusals.PERMISSION.search(stderr):
            message = f"You may not use the Docker daemon{self._where}: {text}"
            fix = "Add yourself to its group and log in again: sudo usermod -aG docker $USER"
            return BackendError.of("docker_permission_denied", message, fix, path="docker")
        if (self.host or "").startswith(options.SSH) and refusals.SSH_FAILED.search(stderr):
            host = str(self.host).removeprefix(options.SSH)
            message = f"ssh to {host} failed: {text}"
            fix = f"See that this works without a password: ssh -o BatchMode=yes {host} docker version"
            return BackendError.of("ssh_failed", message, fix, path="platform.options.host")
        is_unreachable = refusals.is_unreachable(stderr)
        if not is_unreachable and not refusals.OF_COMMAND.search(stderr):
            return RefusedError([refusals.refusal(stderr)])
        code = "docker_unreachable" if is_unreachable else "docker_failed"
        message = f"docker failed{self._where}: {text}"
        return BackendError.of(code, message, "See that its daemon runs: docker info", path="docker")

    @property
    def _where(self) -> str:
        return f" at {self.host}" if self.host else f" in context {self.context}" if self.context else ""


def document(text: str) -> dict[str, Any]:
    """Return the JSON object, or the first one of a list, that docker prints below whatever else is printed.

    Raises:
        BackendError: there is none.

    """
    for start in ("{", "["):
        line = answers.first_line(text, starting=(start,))
        try:
            found = json.JSONDecoder().raw_decode(text[text.index(line) :])[0] if line else None
        except (ValueError, RecursionError):
            continue
        found = found[0] if isinstance(found, list) and found else found
        if isinstance(found, dict):
            return found
    raise _not_understood(text)


def _not_understood(text: str) -> BackendError:
    fix = "See that `docker info` prints what Docker's own command does; a wrapper or an alias may change it."
    return answers.not_understood("docker_not_understood", "docker", answers.first_line(text), fix)


def _container(document: dict[str, Any]) -> Container:
    state = document.get("State")
    if not isinstance(state, dict) or "Id" not in document or "Status" not in state:
        raise _not_understood(json.dumps(document))
    code = state.get("ExitCode", 0)
    return Container(
        id=str(document["Id"]),
        status=str(state["Status"]),
        exit_code=code if isinstance(code, int) else 0,
        oom_killed=bool(state.get("OOMKilled")),
        error=str(state.get("Error", "")),
        finished_at=str(state.get("FinishedAt", "")),
        label=((document.get("Config") or {}).get("Labels") or {}).get(LABEL, ""),
    )
