"""What the refusals of a Docker daemon mean, and which failures are none because it did not answer."""

import re
from dataclasses import replace

from tao_skill_bank.errors import Problem
from tao_skill_bank.platforms import answers
from tao_skill_bank.platforms.answers import Known

KNOWN = tuple(Known(*fields) for fields in (
    (re.compile(r"no such image|unable to find image|pull access denied|manifest unknown", re.I),
     "image_missing",
     "The daemon does not have the image.", "{get}", "image"),
    (re.compile(r"could not select device driver|nvidia-container|unknown runtime|cdi device", re.I),
     "gpu_runtime_missing",
     "The daemon cannot give GPUs to a container.",
     "Install the NVIDIA container toolkit on its machine (nvidia-ctk runtime configure) and restart the daemon, "
     "or --option device=cpu", "platform.gpus"),
    (re.compile(r"unknown device|no such device|device.{0,200}not found", re.I),
     "no_such_gpus", "The machine has no such GPU.",
     "Lower platform.gpus or correct --option devices; see: nvidia-smi -L", "platform.gpus"),
    (re.compile(r"bind source path does not exist|invalid mount|mounts? denied|not shared from the host", re.I),
     "mount_missing",
     "The daemon's machine lacks a path that the container needs, or may not mount it.",
     "Share that folder with its machine at the same path, or correct --option mounts", "platform.options.mounts"),
    (re.compile(r"network .{0,200}not found", re.I),
     "unknown_network", "The daemon has no such network.",
     "Correct --option network; see: docker network ls", "platform.options.network"),
    (re.compile(r"range of cpus", re.I),
     "too_many_cpus", "The machine has fewer cores.", "Lower --option cpus", "platform.options.cpus"),
    (re.compile(r"memory limit|memoryswap|memory-swap", re.I),
     "invalid_memory", "The daemon refuses the memory limit.",
     "Correct --option memory", "platform.options.memory"),
    (re.compile(r"unable to find (?:user|group)", re.I),
     "unknown_user", "The image has no such user.",
     "Give numbers, as in --option user=1000:1000", "platform.options.user"),
    (re.compile(r"\"bash\": (?:executable file not found|stat bash)", re.I),
     "image_without_bash", "The image has no bash.",
     "Use an image that has bash, coreutils and this package; ours is docker/Dockerfile", "image"),
    (re.compile(r"docker-init", re.I),
     "docker_init_missing", "The daemon has no docker-init, or could not put it into the container.",
     "Install it on the daemon's machine (Debian: apt-get install tini), and mount nothing over /sbin", "docker"),
))  # fmt: skip
BY_PLUGIN = Known(re.compile(""), "policy_refused", "A plugin of the Docker daemon refuses this.",
                  "Change what its message names, or ask who runs the daemon about its policy.", "docker")  # fmt: skip
UNKNOWN = Known(re.compile(""), "docker_refused", "Docker refuses this.",
                "Change what its message names; if it is not clear, ask who runs the daemon.", "docker")  # fmt: skip
ANSWERED = re.compile(r"^(?:docker: )?error response from daemon: ", re.I | re.M)
PLUGIN = re.compile(r"authorization denied by plugin", re.I)
ABSENT = re.compile(
    r"^(?:docker: )?(?:error(?: response from daemon)?: )?(?:no such (?:container|object|image|network)\b"
    r"|network \S+ not found|inspecting object: .{0,200}(?:not known|no such))",
    re.I | re.M,
)
PERMISSION = re.compile(r"permission denied while trying to connect", re.I)
SSH_FAILED = re.compile(r"command \[ssh .{0,400}exit status|ssh: |Permission denied \(|host key verification", re.I)
UNREACHABLE = re.compile(
    r"cannot connect to the docker daemon|error during connect|connection (?:refused|reset)|unexpected EOF|i/o timeout"
    r"|deadline exceeded|broken pipe|dial unix|failed to connect",
    re.I,
)
# What the command itself cannot do, whatever a daemon would say.
OF_COMMAND = re.compile(
    r"context .{0,200}(?:not found|does not exist)|unable to (?:parse|resolve) docker|is not a docker command"
    r"|unknown .{0,200}flag|invalid .{0,200}host|tls|certificate",
    re.I,
)
NAME_TAKEN = re.compile(r"container name .{0,200} is already in use", re.I)
HINTS = ("WARNING: ", "Run 'docker", "See 'docker")


def refusal(stderr: str, get: str = "") -> Problem:
    """Return why Docker refuses something, with the whole text, also for an unknown reason; `get` brings the image."""
    text = said(stderr)
    is_plugin = PLUGIN.search(stderr) is not None
    known = None if is_plugin else answers.matching(KNOWN, text)  # a plugin may use any words
    problem = answers.refusal("Docker", text, known, BY_PLUGIN if is_plugin else UNKNOWN)
    return replace(problem, fix=problem.fix.format(get=get))


def is_answered(stderr: str) -> bool:
    """Return whether the daemon itself answered, whatever its answer mentions."""
    return ANSWERED.search(stderr) is not None


def is_absent(stderr: str) -> bool:
    """Return whether the daemon answered that it does not have what was asked for."""
    return ABSENT.search(stderr) is not None


def is_unreachable(stderr: str) -> bool:
    """Return whether a command failed because the daemon did not answer, so that what it did is not known."""
    return not stderr.strip() or (not is_answered(stderr) and UNREACHABLE.search(stderr) is not None)


def said(stderr: str) -> str:
    """Return the error message of docker, without its warnings and hints about its help."""
    lines = [line.strip() for line in stderr.splitlines()]
    lines = [line for line in lines if line and not line.startswith(HINTS)]
    return "\n".join(re.sub(r"^(?:docker: )?(?:Error response from daemon: )?", "", line) for line in lines)
