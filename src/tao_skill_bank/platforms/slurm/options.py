"""The options of platform slurm, read and checked before anything is asked of a cluster."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.contracts import Job
from tao_skill_bank.errors import Problem, RequestError

DEFAULT_GRACE_SECONDS = 120.0  # a training finishes its step and saves itself
DEFAULT_SAVE_SECONDS = 300
SAVE_SHARE = 4  # of a short time limit, a quarter is reserved for saving
NAMES = ("partition", "account", "qos", "constraint", "exclude")  # go into #SBATCH lines as they are
NAME = re.compile(r"[\w.,:@+\[\]()&|*/!=-]+", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9_][\w.@:-]*", re.ASCII)
LINE = re.compile(r"[^\s-][^\n\r]*")
MEMORY = re.compile(r"[0-9]+[KMGT]?")
TIME = re.compile(r"(?:(?P<days>\d+)-(?P<day_time>\d+(?::\d+){0,2})|(?P<time>\d+(?::\d+){0,2}))")
CONTAINERS = ("pyxis", "apptainer")
BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Options:
    """What platform.options say; None is left to the cluster.

    Attributes:
        python: interpreter on the nodes, and in the container where there is one.
        host: login node that is reached by ssh.
        container: what starts the request's image on a node; None for none.
        mounts: folders that are mounted in the container in addition to the run directory.

    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    time_limit: str | None = None
    mem: str | None = None
    cpus_per_task: int | None = None
    requeue: bool = True
    python: str = sys.executable
    host: str | None = None
    container: str | None = None
    mounts: tuple[str, ...] = ()
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    save_seconds: int = DEFAULT_SAVE_SECONDS


def of(job: Job) -> Options:
    """Return the options of a job.

    Raises:
        RequestError: every value that Slurm would not understand, all together.

    """
    values = job.platform.options
    problems = _problems(values, job)
    if problems:
        raise RequestError(problems)
    texts = {name: str(values[name]) for name in (*NAMES, "time_limit", "mem", "host", "container") if name in values}
    in_container = "container" in values
    limit = seconds(texts.get("time_limit"))
    save_seconds = DEFAULT_SAVE_SECONDS if limit is None else min(DEFAULT_SAVE_SECONDS, int(limit // SAVE_SHARE))
    return Options(
        **texts,
        cpus_per_task=int(values["cpus_per_task"]) if "cpus_per_task" in values else None,
        requeue=_boolean(values.get("requeue", True)) is not False,
        python=str(values.get("python", "python3" if in_container else sys.executable)),
        mounts=tuple(str(values["mounts"]).split(",")) if "mounts" in values else (),
        grace_seconds=float(values.get("grace_seconds", DEFAULT_GRACE_SECONDS)),
        save_seconds=int(values.get("save_seconds", save_seconds)),
    )


def seconds(limit: str | None) -> float | None:
    """Return a Slurm time (minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]]) in seconds.

    None stands for no limit, or for a word such as `infinite`.
    """
    found = TIME.fullmatch(limit or "")
    if found is None:
        return None
    if found["days"] is not None:
        hours, minutes, rest = (*map(int, found["day_time"].split(":")), 0, 0)[:3]
        return int(found["days"]) * 86400 + hours * 3600 + minutes * 60 + rest
    parts = [int(part) for part in found["time"].split(":")]
    if len(parts) == 3:
        return parts[0] * 3600 + parts[1] * 60 + parts[2]
    return parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)


def _problems(values: Mapping[str, Any], job: Job) -> list[Problem]:
    forms = [(name, NAME, "a name of the cluster without spaces or quotes") for name in NAMES]
    forms += [
        ("time_limit", TIME, "minutes, HH:MM:SS or DAYS-HH:MM:SS"),
        ("mem", MEMORY, "memory of a node such as 64G"),
        ("host", HOST, "a host that ssh knows, such as user@login.cluster"),
        ("python", LINE, "the path of an interpreter"),
        ("mounts", LINE, "folders, separated by commas"),
        ("container", re.compile("|".join(CONTAINERS)), " or ".join(CONTAINERS)),
    ]
    problems = [
        _invalid(name, values[name], expected)
        for name, form, expected in forms
        if name in values and not (_is_text(values[name]) and form.fullmatch(str(values[name])))
    ]
    if "requeue" in values and _boolean(values["requeue"]) is None:
        problems.append(_invalid("requeue", values["requeue"], "true or false"))
    problems += [
        _invalid(name, values[name], "a whole number")
        for name in ("cpus_per_task", "save_seconds")
        if name in values and float(values[name]) != int(values[name])
    ]
    if "time_limit" in values and seconds(str(values["time_limit"])) == 0:
        problems.append(_invalid("time_limit", values["time_limit"], "more than 0"))
    if "container" in values and not job.image:
        message = "platform.options.container is set, and the request names no image."
        fix = "Name one (image in the request), or omit --option container."
        problems.append(Problem("container_without_image", message, fix, "image"))
    return problems


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _boolean(value: Any) -> bool | None:
    return BOOLEANS.get(str(value).lower())


def _invalid(name: str, value: Any, expected: str) -> Problem:
    message = f"Platform option {name} is {value!r}; expected {expected}."
    return Problem(
        "invalid_option", message, f"Correct --option {name}=VALUE.", f"platform.options.{name}", value, expected
    )
