"""The options of platform kubernetes, read and checked before anything is asked of a cluster."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from tao_skill_bank.contracts import Job
from tao_skill_bank.core import redact
from tao_skill_bank.errors import Problem, RequestError

DEFAULT_GRACE_SECONDS = 120  # a training finishes its step and saves itself
DEFAULT_TTL_SECONDS = 7 * 24 * 3600
DEFAULT_RETRIES = 10
DEFAULT_SHM = "16Gi"
CPUS_PER_GPU, MEMORY_PER_GPU_GIB = 4, 32
CPUS_PER_PROCESS, MEMORY_PER_PROCESS_GIB = 1, 2  # without a GPU

LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)*")
KEY = r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?"
VALUE = r"(?:[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?)?"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
QUANTITY = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?(?:m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
PATH = re.compile(r"/[^\n\r:]*")
LINE = re.compile(r"[^\s-][^\n\r]*")
TOLERATION = re.compile(rf"(?P<key>{KEY})(?:=(?P<value>{VALUE}))?(?::(?P<effect>{'|'.join(EFFECTS)}))?")
USER = re.compile(r"(?P<user>[0-9]{1,10})(?::(?P<group>[0-9]{1,10}))?")
UNITS = {
    "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip
BOOLEANS = {"true": True, "false": False}

# name: (form, what is expected)
FORMS: dict[str, tuple[re.Pattern[str], str]] = {
    "namespace": (LABEL, "a namespace's name"),
    "context": (LINE, "a context of the kubeconfig"),
    "kubeconfig": (LINE, "the path of a kubeconfig"),
    "resource": (re.compile(r"job|trainjob"), "job or trainjob"),
    "runtime": (NAME, "a ClusterTrainingRuntime's name"),
    "claim": (NAME, "a PersistentVolumeClaim's name"),
    "claim_path": (PATH, "an absolute path"),
    "host_path": (PATH, "an absolute path"),
    "cpu": (QUANTITY, "cores such as 16"),
    "cpu_limit": (QUANTITY, "cores such as 16"),
    "memory": (QUANTITY, "memory such as 64Gi"),
    "shm": (QUANTITY, "memory such as 16Gi"),
    "gpu_resource": (re.compile(KEY), "a resource of nodes such as nvidia.com/gpu"),
    "python": (LINE, "an interpreter in the image"),
    "user": (USER, "UID or UID:GID"),
    "secret": (NAME, "a Secret's name"),
    "image_pull_secret": (NAME, "a Secret's name"),
    "service_account": (NAME, "a service account's name"),
    "priority_class": (NAME, "a PriorityClass's name"),
    "queue": (NAME, "a LocalQueue's name"),
    "node_selector": (re.compile(rf"{KEY}={VALUE}(?:,{KEY}={VALUE})*"), "KEY=VALUE,KEY=VALUE"),
    "tolerations": (
        re.compile(rf"{KEY}(?:=[^,:]*)?(?::[A-Za-z]+)?(?:,{KEY}(?:=[^,:]*)?(?::[A-Za-z]+)?)*"),
        "KEY=VALUE:EFFECT,KEY:EFFECT",
    ),
    "exclude": (re.compile(rf"{NAME.pattern}(?:,{NAME.pattern})*"), "names of nodes, separated by commas"),
    "env": (re.compile(r"[A-Za-z_]\w*=[^,\n]*(?:,[A-Za-z_]\w*=[^,\n]*)*"), "NAME=VALUE,NAME=VALUE"),
}
FLAGS = ("restart", "autoscale")
WHOLE_NUMBERS = ("grace_seconds", "ttl_seconds", "deadline_seconds", "retries")


@dataclass(frozen=True)
class Options:
    """What platform.options say; None is left to the cluster.

    Attributes:
        namespace: the context's own when None.
        mount_path: where the claim, or the nodes' folder, is mounted in the pods; None without storage.
        restart: pods that saved themselves or lost another one are started again, `retries` times.
        autoscale: nodes may be added on demand, so that a request is not refused because no node has its resources now.

    """

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    resource: Literal["job", "trainjob"] = "job"
    runtime: str = "torch-distributed"
    claim: str | None = None
    claim_path: str | None = None
    host_path: str | None = None
    cpu: str = "1"
    cpu_limit: str | None = None
    memory: str = "1Gi"
    limits_memory: bool = False
    shm: str = DEFAULT_SHM
    gpu_resource: str = "nvidia.com/gpu"
    python: str = "python3"
    user: tuple[int, int | None] | None = None
    secret: str | None = None
    image_pull_secret: str | None = None
    service_account: str | None = None
    priority_class: str | None = None
    queue: str | None = None
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[tuple[str, str | None, str | None], ...] = ()
    exclude: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    restart: bool = True
    autoscale: bool = False
    grace_seconds: int = DEFAULT_GRACE_SECONDS
    ttl_seconds: int = DEFAULT_TTL_SECONDS
    deadline_seconds: int | None = None
    retries: int = DEFAULT_RETRIES

    @property
    def mount_path(self) -> str | None:
        return self.claim_path if self.claim is not None else self.host_path

    def holds(self, path: str) -> bool:
        """Return whether a path lies on the storage that pods share."""
        return self.mount_path is not None and PurePosixPath(path).is_relative_to(self.mount_path)


def of(job: Job) -> Options:
    """Return the options of a job.

    Raises:
        RequestError: every value that Kubernetes would not understand, all together.

    """
    values = job.platform.options
    if problems := _problems(values, job):
        raise RequestError(problems)
    lists: dict[str, Callable[[str], Any]] = {
        "user": _user,
        "node_selector": _pairs,
        "env": _pairs,
        "tolerations": _tolerations,
        "exclude": lambda text: tuple(text.split(",")),
    }
    texts = {name: lists.get(name, str)(str(values[name])) for name in FORMS if name in values}
    flags = {name: BOOLEANS[str(values[name]).lower()] for name in FLAGS if name in values}
    numbers = {name: int(values[name]) for name in WHOLE_NUMBERS if name in values}
    for name in ("claim_path", "host_path"):
        if name in texts:
            texts[name] = str(PurePosixPath(texts[name]))
    processes, is_gpu = job.resources.processes_per_node, job.resources.device == "cuda"
    cpus, memory = (CPUS_PER_GPU, MEMORY_PER_GPU_GIB) if is_gpu else (CPUS_PER_PROCESS, MEMORY_PER_PROCESS_GIB)
    default_cpu = values.get("cpu_limit", str(cpus * processes))  # as Kubernetes does: a limit alone is a request
    defaults = {"cpu": str(default_cpu), "memory": f"{memory * processes}Gi"}
    return Options(**{**defaults, **texts, **flags, **numbers}, limits_memory="memory" in values)


def is_on_storage(path: str, values: Mapping[str, Any]) -> bool:
    """Return whether a path lies on the storage that platform options name for the pods, if they name one."""
    mount = values.get("claim_path", values.get("host_path"))
    return mount is not None and PurePosixPath(path).is_relative_to(str(mount))


def quantity(text: str) -> float:
    """Return a Kubernetes quantity (500m, 64Gi) as a number."""
    number = text.rstrip("mkMGTPi")
    return float(number) * UNITS[text[len(number) :]]


def _problems(values: Mapping[str, Any], job: Job) -> list[Problem]:
    problems = [
        _invalid(name, values[name], expected)
        for name, (form, expected) in FORMS.items()
        if name in values and not (_is_text(values[name]) and form.fullmatch(str(values[name])))
    ]
    invalid = {problem.path.rpartition(".")[2] for problem in problems}
    if "tolerations" in values and "tolerations" not in invalid:
        parts = str(values["tolerations"]).split(",")
        if wrong := [part for part in parts if not TOLERATION.fullmatch(part)]:
            expected = f"KEY=VALUE:EFFECT with an effect of {', '.join(EFFECTS)}"
            problems.append(_invalid("tolerations", wrong[0], expected))
    problems += [
        _invalid(name, values[name], "true or false")
        for name in FLAGS
        if name in values and str(values[name]).lower() not in BOOLEANS
    ]
    problems += [
        _invalid(name, values[name], "a whole number")
        for name in WHOLE_NUMBERS
        if name in values and float(values[name]) != int(values[name])
    ]
    return [*problems, *_contradictions(values, job, invalid), *_secrets(values, invalid)]


def _contradictions(values: Mapping[str, Any], job: Job, invalid: set[str]) -> list[Problem]:
    problems = []
    if "claim" in values and "host_path" in values:
        fix = "Keep --option claim (with claim_path), or --option host_path."
        problems.append(
            _problem("two_storages", "Two storages are named: a claim and a path of the nodes.", fix, "claim")
        )
    if ("claim" in values) != ("claim_path" in values):
        fix = "Give both: --option claim=NAME --option claim_path=/PATH, the path on this machine as well."
        message = "Options claim and claim_path, where it is mounted, need each other: one is missing."
        problems.append(_problem("claim_without_path", message, fix, "claim"))
    if "cpu" in values and "cpu_limit" in values and not ({"cpu", "cpu_limit"} & invalid):
        cpu, limit = str(values["cpu"]), str(values["cpu_limit"])
        if quantity(limit) < quantity(cpu):
            message = f"Platform option cpu_limit is {limit}, less than the cores that are requested: cpu is {cpu}."
            problems.append(_problem("limit_below_request", message, "Raise --option cpu_limit, or lower cpu.",
                                     "cpu_limit"))  # fmt: skip
    mount = values.get("claim_path", values.get("host_path"))
    if mount is not None and not is_on_storage(job.results_dir, values):
        message = f"The run directory {job.results_dir} does not lie on the storage that pods see at {mount}."
        problems.append(Problem("results_dir_not_shared", message, f"Set results_dir to a folder below {mount}.",
                                "results_dir", job.results_dir))  # fmt: skip
    if values.get("resource") == "trainjob":
        for name in ("priority_class", "ttl_seconds", "grace_seconds", "restart", "retries"):
            if name in values:
                message = f"A TrainJob does not support platform option {name}: its runtime sets it."
                fix = f"Omit --option {name}, or set it in the ClusterTrainingRuntime."
                problems.append(_problem("not_of_trainjob", message, fix, name))
    return problems


def _secrets(values: Mapping[str, Any], invalid: set[str]) -> list[Problem]:
    """Refuse secrets by value: manifests are saved to disk."""
    if "env" not in values or "env" in invalid:
        return []
    found = list(redact.secret_paths(dict(_pairs(str(values["env"])))))
    message = f"Platform option env holds a secret: {', '.join(found)}."
    fix = "Put it into a Secret of the namespace under that name, and name the Secret: --option secret=NAME"
    return [_problem("secret_in_options", message, fix, "env")] if found else []


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, _, value in (pair.partition("=") for pair in text.split(",")))


def _tolerations(text: str) -> tuple[tuple[str, str | None, str | None], ...]:
    found = [TOLERATION.fullmatch(part) for part in text.split(",")]
    return tuple((part["key"], part["value"], part["effect"]) for part in found if part)


def _user(text: str) -> tuple[int, int | None]:
    user, _, group = text.partition(":")
    return int(user), int(group) if group else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _problem(code: str, message: str, fix: str, name: str) -> Problem:
    return Problem(code, message, fix, f"platform.options.{name}")


def _invalid(name: str, value: Any, expected: str) -> Problem:
    message = f"Platform option {name} is {value!r}; expected {expected}."
    return Problem(
        "invalid_option", message, f"Correct --option {name}=VALUE.", f"platform.options.{name}", value, expected
    )
