"""The options of platform docker, read and checked before anything is asked of a daemon."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.contracts import Job
from tao_skill_bank.core import plain_text, settings
from tao_skill_bank.core.redact import SECRET_NAME
from tao_skill_bank.errors import Problem, RequestError
from tao_skill_bank.platforms import inputs

DEFAULT_GRACE_SECONDS = 120.0  # a training finishes its step and saves itself
DEFAULT_SHM_SIZE = "8g"  # workers of data loaders pass batches through it; Docker's default of 64 MiB does not hold one
BOOLEANS = {"true": True, "false": False}
SSH, TCP = "ssh://", "tcp://"
FORMS: dict[str, tuple[str, str]] = {  # option: (what it must match, what it is)
    "host": (r"(?:unix:///|tcp://|ssh://)[^\s'\"]+|[A-Za-z0-9_][\w.-]*@[\w.:-]+", "USER@HOST or ssh://USER@HOST"),
    "python": (r"[^\s-][^\n\r]*", "the path of an interpreter in the image"),
    "memory": (r"[0-9]{1,15}(?:\.[0-9]{1,15})?[mg]", "memory with its unit, m or g, such as 64g"),
    "shm_size": (r"[0-9]{1,15}(?:\.[0-9]{1,15})?[mg]", "memory with its unit, m or g, such as 16g"),
    "ipc": (r"private|shareable|none|host|container:[\w.-]+", "private, shareable, none, host or container:NAME"),
    "user": (r"[A-Za-z0-9_][\w.-]*(?::[A-Za-z0-9_][\w.-]*)?", "a name or number in the image, or USER:GROUP"),
    "network": (r"[A-Za-z0-9][\w.:-]*", "the name of a network, such as host"),
    "devices": (r"[\w-]+(?:,[\w-]+)*", "numbers or UUIDs of GPUs, separated by commas"),
    "env": (r"[A-Za-z_]\w*(?:=[^,\n\r]*)?(?:,[A-Za-z_]\w*(?:=[^,\n\r]*)?)*", "NAME or NAME=VALUE, separated by commas"),
    "mounts": (r"/[^,\n\r]*(?:,/[^,\n\r]*)*", "absolute paths, separated by commas: A, A:B, A:ro or A:B:ro"),
}
TEXTS = tuple(FORMS)
IMAGE = r"(?:[\w.-]+(?::\d+)?/)?[a-z0-9][a-z0-9._/-]*(?::[\w.-]{1,128})?(?:@sha256:[0-9a-f]{64})?"
SET_BY_US = ("HOME", "USER", "TAO_STATE_DIR", "HF_HOME")
FLAGS = ("keep",)


@dataclass(frozen=True)
class Mount:
    """A folder or file of the daemon's machine, and where the container sees it."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Options:
    """What platform.options say; None is left to the daemon.

    Attributes:
        host: the daemon, as `docker --host` takes it; None for the one that the environment or the context names.
        python: interpreter in the image.
        devices: the GPUs that are given to the container; None for any, as many as the job needs.
        env: variables that are set, or passed on by name alone, in addition to the usual ones.
        keep: the container is not removed once it has ended.

    """

    host: str | None = None
    python: str = "python3"
    cpus: float | None = None
    memory: str | None = None
    shm_size: str = DEFAULT_SHM_SIZE
    ipc: str | None = None
    user: str = ""
    network: str | None = None
    devices: str | None = None
    env: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    keep: bool = False
    grace_seconds: float = DEFAULT_GRACE_SECONDS


def of(job: Job) -> Options:
    """Return the options of a job.

    Raises:
        RequestError: every value that Docker would not understand, all together.

    """
    values = job.platform.options
    problems = _problems(values, job)
    if problems:
        raise RequestError(problems)
    plain = ("python", "memory", "shm_size", "ipc", "network")
    return Options(
        **{name: str(values[name]) for name in plain if name in values},
        host=host(values),
        devices=str(values["devices"]) if "devices" in values else _visible_devices(values, job),
        cpus=float(values["cpus"]) if "cpus" in values else None,
        user=str(values.get("user", f"{os.getuid()}:{os.getgid()}")),  # results belong to the user who submits
        env=tuple(str(values["env"]).split(",")) if "env" in values else (),
        mounts=tuple(_mount(text) for text in str(values["mounts"]).split(",")) if "mounts" in values else (),
        keep=BOOLEANS[str(values.get("keep", False)).lower()],
        grace_seconds=float(values.get("grace_seconds", DEFAULT_GRACE_SECONDS)),
    )


def host(values: Mapping[str, Any]) -> str | None:
    """Return the daemon that the options name, if any, as `docker --host` takes it."""
    if "host" not in values:
        return None
    name = str(values["host"])
    return name if "://" in name else f"{SSH}{name}"


def is_remote(host: str | None) -> bool:
    """Return whether a daemon is on another machine, as far as its address shows."""
    return host is not None and not host.startswith("unix://")


def _visible_devices(values: Mapping[str, Any], job: Job) -> str | None:
    """Return the GPUs that the user made visible, where the daemon is on this machine; None for any."""
    visible = settings.visible_gpus() or ""
    if is_remote(host(values) or settings.docker_host()) or not re.fullmatch(FORMS["devices"][0], visible):
        return None
    chosen = visible.split(",")[: job.resources.processes_per_node]
    return ",".join(chosen) if len(chosen) == job.resources.processes_per_node else None


def _mount(text: str) -> Mount:
    words, read_only = text.split(":"), False
    if words[-1] in ("ro", "rw"):
        read_only = words.pop() == "ro"
    return Mount(words[0], words[-1], read_only)


def _problems(values: Mapping[str, Any], job: Job) -> list[Problem]:
    problems = [
        _invalid(name, _shown(name, values[name]), expected)
        for name, (form, expected) in FORMS.items()
        if name in values and not (_is_text(values[name]) and re.fullmatch(form, str(values[name]), re.ASCII))
    ]
    problems += [
        _invalid("mounts", text, "A, A:B, A:ro or A:B:ro, all absolute")
        for text in (str(values["mounts"]).split(",") if "mounts" in values else ())
        if not _is_mount(text)
    ][:1]
    problems += _covered(values, job)
    problems += [
        _invalid("env", f"{name}=...", "no variable that this platform sets itself")
        for name in (text.partition("=")[0] for text in str(values.get("env", "")).split(","))
        if name in SET_BY_US
    ]
    problems += [
        _invalid("env", f"{name}=...", "the names alone of what is secret; the values come from the environment")
        for name, has_value, _ in (text.partition("=") for text in str(values.get("env", "")).split(","))
        if has_value and SECRET_NAME.search(name)
    ]
    problems += [
        _invalid(name, values[name], "true or false")
        for name in FLAGS
        if name in values and str(values[name]).lower() not in BOOLEANS
    ]
    if "devices" in values and job.resources.device == "cuda":
        count = len(str(values["devices"]).split(","))
        if count != job.resources.processes_per_node:
            problems.append(
                _invalid("devices", values["devices"], plain_text.counted(job.resources.processes_per_node, "GPU"))
            )
    if not job.image:
        message = "Platform docker runs containers, and the request names no image."
        problems.append(Problem("image_needed", message, "Name one: --image IMAGE", "image"))
    elif not re.fullmatch(IMAGE, job.image, re.ASCII):
        message = f"This is not a valid name of a Docker image: {job.image}"
        fix = "Write it in lower case, as NAME, NAME:TAG or REGISTRY/NAME:TAG."
        problems.append(Problem("invalid_image", message, fix, "image", job.image))
    return list({problem.path: problem for problem in problems}.values())


def _covered(values: Mapping[str, Any], job: Job) -> list[Problem]:
    """Return the mount that would hide a path of the job, which preflight has checked, behind something else.

    A daemon elsewhere may have the same data at another place.
    """
    if is_remote(host(values) or settings.docker_host()):
        return []
    own = [job.results_dir, str(settings.state_dir()), *inputs.paths(job)]
    for text in str(values["mounts"]).split(",") if "mounts" in values else ():
        mount = _mount(text)
        hidden = [path for path in own if f"{path}/".startswith(f"{mount.target.rstrip('/')}/")]
        if hidden and mount.source != mount.target:
            message = f"platform.options.mounts puts {mount.source} over {hidden[0]}, which the job uses."
            fix = f"Mount it somewhere else, or name {mount.source} in the request."
            return [Problem("mount_hides_input", message, fix, "platform.options.mounts", text)]
        if mount.target == "/":
            fix = "Name the folders that the job needs."
            return [Problem("mount_hides_image", "A mount at / hides the image.", fix, "platform.options.mounts", text)]
    return []


def _shown(name: str, value: Any) -> Any:
    return re.sub(r"=[^,]*", "=...", value) if name == "env" and isinstance(value, str) else value


def _is_mount(text: str) -> bool:
    words = text.split(":")
    if words[-1] in ("ro", "rw"):
        words = words[:-1]
    return len(words) in (1, 2) and all(word.startswith("/") for word in words)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _invalid(name: str, value: Any, expected: str) -> Problem:
    message = f"Platform option {name} is {value!r}; expected {expected}."
    return Problem(
        "invalid_option", message, f"Correct --option {name}=VALUE.", f"platform.options.{name}", value, expected
    )
