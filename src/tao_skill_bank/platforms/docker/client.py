"""The `docker` command, for a local or remote daemon, and the meaning of its answers."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pydantic

from tao_skill_bank.core import settings
from tao_skill_bank.errors import BackendError, Problem
from tao_skill_bank.platforms.docker import options
from tao_skill_bank.platforms.docker.render import LABEL

TIMEOUT_SECONDS = 60.0
ACTIVE = ("created", "restarting", "running", "paused")
ENDPOINT = "{{.Name}} {{.Endpoints.docker.Host}}"

# The refusals of docker: (pattern, code, message, fix, path).
REFUSALS = (
    (r"no such image|unable to find image|pull access denied|manifest unknown", "image_missing",
     "The daemon does not have the image.", "{get}", "image"),
    (r"could not select device driver|nvidia-container|unknown runtime|cdi device", "gpu_runtime_missing",
     "The daemon cannot give GPUs to a container.",
     "Install the NVIDIA container toolkit on its machine (nvidia-ctk runtime configure) and restart the daemon, "
     "or --option device=cpu", "platform.gpus"),
    (r"unknown device|no such device|device.*not found", "no_such_gpus", "The machine has no such GPU.",
     "Lower platform.gpus or correct --option devices; see: nvidia-smi -L", "platform.gpus"),
    (r"bind source path does not exist|invalid mount|mounts? denied|not shared from the host", "mount_missing",
     "The daemon's machine lacks a path that the container needs, or may not mount it.",
     "Share that folder with its machine at the same path, or correct --option mounts", "platform.options.mounts"),
    (r"network .*not found", "unknown_network", "The daemon has no such network.",
     "Correct --option network; see: docker network ls", "platform.options.network"),
    (r"range of cpus", "too_many_cpus", "The machine has fewer cores.", "Lower --option cpus", "platform.options.cpus"),
    (r"memory limit|memoryswap|memory-swap", "invalid_memory", "The daemon refuses the memory limit.",
     "Correct --option memory", "platform.options.memory"),
    (r"unable to find (?:user|group)", "unknown_user", "The image has no such user.",
     "Give numbers, as in --option user=1000:1000", "platform.options.user"),
    (r"\"bash\": (?:executable file not found|stat bash)", "image_without_bash", "The image has no bash.",
     "Use an image that has bash, coreutils and this package; ours is docker/Dockerfile", "image"),
    (r"docker-init", "docker_init_missing", "The daemon has no docker-init, or could not put it into the container.",
     "Install it on the daemon's machine (Debian: apt-get install tini), and mount nothing over /sbin", "docker"),
)  # fmt: skip
PERMISSION = re.compile(r"permission denied while trying to connect", re.I)
SSH_FAILED = re.compile(r"command \[ssh .*exit status|ssh: |Permission denied \(|host key verification", re.I)
UNREACHABLE = re.compile(
    r"cannot connect to the docker daemon|error during connect|connection (?:refused|reset)|unexpected EOF|i/o timeout"
    r"|deadline exceeded|broken pipe|dial unix|failed to connect",
    re.I,
)
NAME_TAKEN = re.compile(r"container name .* is already in use", re.I)


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
            return _container(json.loads(done.stdout)[0])
        if re.search(r"no such container", done.stderr, re.I):
            return None
        raise self.failure(done.stderr)

    def has(self, kind: str, name: str) -> bool:
        """Return whether the daemon has an image or a network. Raises BackendError when it cannot be asked."""
        done = self.call(kind, "inspect", "--format", "{{.Id}}", name)
        if done.returncode != 0 and not re.search(r"no such|not found", done.stderr, re.I):
            raise self.failure(done.stderr)
        return done.returncode == 0

    def failure(self, stderr: str) -> BackendError:
        """Return the error of a command that the daemon did not carry out."""
        text = last_error(stderr) or "no error message"
        if PERMISSION.search(stderr):
            message = f"You may not use the Docker daemon{self._where}: {text}"
            fix = "Add yourself to its group and log in again: sudo usermod -aG docker $USER"
            return BackendError.of("docker_permission_denied", message, fix, path="docker")
        if (self.host or "").startswith(options.SSH) and SSH_FAILED.search(stderr):
            host = str(self.host).removeprefix(options.SSH)
            message = f"ssh to {host} failed: {text}"
            fix = f"See that this works without a password: ssh -o BatchMode=yes {host} docker version"
            return BackendError.of("ssh_failed", message, fix, path="platform.options.host")
        code = "docker_unreachable" if is_unreachable(stderr) else "docker_failed"
        message = f"docker failed{self._where}: {text}"
        return BackendError.of(code, message, "See that its daemon runs: docker info", path="docker")

    @property
    def _where(self) -> str:
        return f" at {self.host}" if self.host else f" in context {self.context}" if self.context else ""


def refusal(stderr: str, get: str) -> Problem | None:
    """Return why `docker run` refuses a request; None for another reason. `get` is what brings the image."""
    text = last_error(stderr)
    for pattern, code, message, fix, path in REFUSALS:
        if re.search(pattern, text, re.IGNORECASE):
            return Problem(code, f"{message} Docker reports: {text}", fix.format(get=get), path)
    return None


def is_unreachable(stderr: str) -> bool:
    """Return whether a command failed because the daemon did not answer, so that what it did is not known."""
    return not stderr.strip() or bool(UNREACHABLE.search(stderr))


def last_error(stderr: str) -> str:
    """Return the error message of docker, without its warnings and hints about its help."""
    lines = [line.strip() for line in stderr.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("WARNING", "Run 'docker", "See 'docker"))]
    return re.sub(r"^(?:docker: )?(?:Error response from daemon: )?", "", lines[-1]) if lines else ""


def _container(document: dict[str, Any]) -> Container:
    state = document["State"]
    return Container(
        id=document["Id"],
        status=state["Status"],
        exit_code=int(state.get("ExitCode", 0)),
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error", ""),
        finished_at=state.get("FinishedAt", ""),
        label=(document.get("Config", {}).get("Labels") or {}).get(LABEL, ""),
    )
