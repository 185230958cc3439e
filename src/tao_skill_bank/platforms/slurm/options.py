"""The options of platform slurm, read and checked before anything is asked of a cluster."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.contracts import Job
from tao_skill_bank.core import plain_text
from tao_skill_bank.errors import Problem, RequestError

DEFAULT_GRACE_SECONDS = 120.0  # a training finishes its step and saves itself
DEFAULT_SAVE_SECONDS = 300
SAVE_SHARE = 4  # of a short time limit, a quarter is reserved for saving
# They go into #SBATCH lines as they are.
NAMES = ("partition", "account", "qos", "constraint", "exclude", "nodelist", "reservation", "licenses", "gres")
NAME = re.compile(r"[\w.,:@+\[\]()&|*/!=-]+", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9_][\w.@:-]*", re.ASCII)
LINE = re.compile(r"[^\s-][^\n\r]*")
MEMORY = re.compile(r"[0-9]{1,15}[KMGT]?")
TIME = re.compile(r"(?:(?P<days>\d+)-(?P<day_time>\d+(?::\d+){0,2})|(?P<time>\d+(?::\d+){0,2}))")
CONTAINERS = ("pyxis", "apptainer")
BOOLEANS = {"true": True, "false": False}
GPU = re.compile(r"(?:gres[:/])?gpu(?::[A-Za-z_][\w.-]*)?(?:[:=](?P<count>\d+))?(?:\(.*\))?", re.ASCII)
EXTRA = re.compile(rf"--(?P<name>[a-z][a-z-]*)(?:={NAME.pattern})?", re.ASCII)
# Long options of sbatch that only say where, when and for whom a job runs.
EXTRA_OPTIONS = frozenset((
    "acctg-freq", "batch", "begin", "comment", "contiguous", "core-spec", "cores-per-socket", "cpu-freq",
    "cpus-per-gpu", "deadline", "delay-boot", "dependency", "distribution", "exclusive", "gpu-bind", "gpu-freq",
    "gres-flags", "hint", "mail-type", "mail-user", "mcs-label", "mem-bind", "mem-per-cpu", "mem-per-gpu", "network",
    "nice", "ntasks-per-core", "ntasks-per-socket", "overcommit", "oversubscribe", "power", "prefer", "priority",
    "segment", "sockets-per-node", "spread-job", "switches", "thread-spec", "threads-per-core", "time-min", "tmp",
    "use-min-nodes", "wckey",
))  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What platform.options say; None is left to the cluster.

    Attributes:
        python: interpreter on the nodes, and in the container where there is one.
        host: login node that is reached by ssh.
        container: what starts the request's image on a node; None for none.
        mounts: folders that are mounted in the container in addition to the run directory.
        gres: generic resources of a node; where they name GPUs, those are the job's.
        extra: further long options of sbatch, each as one word.

    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    nodelist: str | None = None
    reservation: str | None = None
    licenses: str | None = None
    gres: str | None = None
    extra: tuple[str, ...] = ()
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
        extra=tuple(str(values.get("extra", "")).split()),
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
    problems += [*_extra_problems(values), *_gres_problems(values, job)]
    if "time_limit" in values and seconds(str(values["time_limit"])) == 0:
        problems.append(_invalid("time_limit", values["time_limit"], "more than 0"))
    if "container" in values and not job.image:
        message = "platform.options.container is set, and the request names no image."
        fix = "Name one (image in the request), or omit --option container."
        problems.append(Problem("container_without_image", message, fix, "image"))
    return problems


def names_gpus(gres: str | None) -> bool:
    """Return whether generic resources name GPUs."""
    return bool(_gpu_counts(gres))


def _gpu_counts(gres: str | None) -> list[int]:
    """Return how many GPUs each entry of generic resources asks for."""
    found = [GPU.fullmatch(entry) for entry in (gres or "").split(",")]
    return [int(entry["count"] or 1) for entry in found if entry]


def _gres_problems(values: Mapping[str, Any], job: Job) -> Iterator[Problem]:
    counts, wanted = _gpu_counts(str(values.get("gres", ""))), job.resources.processes_per_node
    if not counts:
        return
    if job.resources.device != "cuda":
        yield _invalid("gres", values["gres"], "no GPUs, as the job runs on the CPU")
    elif sum(counts) != wanted:
        yield _invalid("gres", values["gres"], f"{plain_text.counted(wanted, 'GPU')}, as many as platform.gpus")


def _extra_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield which words are not long options that may be added: the others are rendered, or change what runs."""
    if "extra" not in values:
        return
    tokens = str(values["extra"]).split() if isinstance(values["extra"], str) else []
    if not tokens:
        yield _invalid("extra", values["extra"], "long options of sbatch such as --exclusive --comment=TEXT")
    for token in tokens:
        found = EXTRA.fullmatch(token)
        if found is None:
            yield _invalid("extra", token, "--NAME or --NAME=VALUE, without quotes or spaces in the value")
        elif found["name"] not in EXTRA_OPTIONS:
            yield _invalid("extra", token, f"one of --{', --'.join(sorted(EXTRA_OPTIONS))}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _boolean(value: Any) -> bool | None:
    return BOOLEANS.get(str(value).lower())


def _invalid(name: str, value: Any, expected: str) -> Problem:
    message = f"Platform option {name} is {value!r}; expected {expected}."
    return Problem(
        "invalid_option", message, f"Correct --option {name}=VALUE.", f"platform.options.{name}", value, expected
    )
