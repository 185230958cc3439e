"""The frozen dataclasses that carry a request from planning to its result; read from and written as JSON."""

import difflib
import json
import typing
from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass
from enum import StrEnum
from operator import not_
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, dataclass_transform

import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass

from tao_skill_bank.errors import Problem, RequestError

T = TypeVar("T")
Severity = Literal["blocking", "warning", "info", "not_checked"]
UNEXPECTED = "unexpected_keyword_argument"  # as pydantic names a field that a contract does not have
OMITTED_IF_EMPTY = pydantic.Field(exclude_if=not_)  # so that documents of earlier releases keep their digests


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def contract(kind: type[T]) -> type[T]:
    """Make a frozen dataclass that rejects unknown fields and validates its types."""
    config = pydantic.ConfigDict(extra="forbid", protected_namespaces=())
    return cast(type[T], pydantic_dataclass(frozen=True, config=config)(kind))


class State(StrEnum):
    """Job states. UNKNOWN is never terminal: it means that the backend could not report a state."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    ERROR = "ERROR"
    CANCELED = "CANCELED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_terminal(self) -> bool:
        return self in (State.COMPLETE, State.ERROR, State.CANCELED)


# --- request ------------------------------------------------------------------------------------------------------


@contract
class DatasetPaths:
    """Direct mode: separate paths of annotations and media. Root mode is a plain path instead."""

    annotation_path: str
    media_path: str


@contract
class PlatformRequest:
    """Where to run. `gpus` is processes per node; both counts default from the spec."""

    name: str = "local"
    gpus: int | None = None
    nodes: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


@contract
class Request:
    """What a user or an agent asks for, before anything is resolved.

    `base` measures the model that the parent's checkpoint was trained from in place of the checkpoint.
    """

    skill: str
    action: str
    prompt: str = ""
    automl_policy: Literal["auto", "off"] | None = None
    datasets: dict[str, str | DatasetPaths] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    platform: PlatformRequest = field(default_factory=PlatformRequest)
    results_dir: str | None = None
    parent_job_id: str | None = None
    checkpoint: str | None = None
    image: str | None = None
    automl: dict[str, Any] = field(default_factory=dict)
    base: Annotated[bool, OMITTED_IF_EMPTY] = False


# --- metrics ------------------------------------------------------------------------------------------------------


@contract
class MonitoringMetric:
    """A metric by which results are compared, and which of two values is better."""

    name: str
    direction: Literal["minimize", "maximize"]

    def is_better(self, value: float, than: float) -> bool:
        """Whether `value` is better than `than`; never for equal values or where either is not a number."""
        return value > than if self.direction == "maximize" else value < than


# --- findings and workload ----------------------------------------------------------------------------------------


@contract
class Finding:
    """One observation of a check, as data. `blocking` stops a plan and a launch.

    A plan may be made on one machine and run on another, so what only this machine lacks is a warning with
    `evidence["blocks_run"]`: it does not block the plan, but blocks a launch from this machine. `fix_set` and
    `fix_choices` are those of `errors.Problem`; a document holds them where they are set.
    """

    code: str
    severity: Severity
    message: str
    fix: str = ""
    path: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    fix_set: Annotated[dict[str, Any], OMITTED_IF_EMPTY] = field(default_factory=dict)
    fix_choices: Annotated[tuple[dict[str, Any], ...], OMITTED_IF_EMPTY] = ()

    @pydantic.field_validator("message", "fix", "path", "evidence", "fix_set", "fix_choices", mode="before")
    @classmethod
    def _writable(cls, value: Any) -> Any:
        """Escape half characters, which names of files and records may hold, and which no document can."""
        return _without_halves(value)

    @property
    def blocks_run(self) -> bool:
        return self.severity == "blocking" or self.evidence.get("blocks_run") is True


@contract
class Input:
    """Something that an action reads. Its kind (`tao_skill_bank.data.kinds`) says what it is and how it is checked.

    Attributes:
        role: what the action does with it: train, eval, calibration, adapter, ...
        kind: name of a module of `data/kinds`, or of the model's own `kinds`.
        paths: local paths or URIs, by names that the kind defines.
        options: fields of the kind's options that differ from their defaults.

    """

    role: str
    kind: str
    paths: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)


@contract
class WarmUp:
    """The warm-up of a training's learning rate: its length in epochs or in optimizer steps, and its spec key."""

    path: str
    epochs: float = 0
    steps: int = 0


@contract
class HardwareNeed:
    """The GPU that a run, or the checkpoint it makes, needs.

    Attributes:
        architecture: the oldest one that suffices, 89 for sm_89.
        what: what needs it, as the subject of a sentence.
        fix: the alternative settings.
        required: this machine must have it, so that a run is refused where it does not.
        computes: the run itself computes on it, so that a CPU does not suffice.

    """

    architecture: int
    what: str
    fix: str
    required: bool = True
    computes: bool = False


@contract
class Limit:
    """The most records of a role that an action takes, and its spec key; `takes_all` is the key's value for all."""

    path: str
    count: int
    role: str = "eval"
    takes_all: int | None = None


@contract
class Recipient:
    """A server that an action sends its inputs to, and what an estimate of that rests on.

    Attributes:
        url, path: its address, and the spec key of that.
        allowed, allow_path: the hosts other than this machine that may get data, and the spec key that lists them.
        role, what: of the inputs that are sent, and what of them, such as `frames`.
        requests, input_tokens, output_tokens: for one clip or record, as estimated.
        input_price, output_price: of a million tokens; None where it is not known.
        key_variable: the environment variable with its key.

    """

    url: str
    path: str
    allow_path: str
    role: str
    what: str
    allowed: tuple[str, ...] = ()
    requests: float = 1
    input_tokens: float = 0
    output_tokens: float = 0
    input_price: float | None = None
    output_price: float | None = None
    key_variable: str = ""


@contract
class Workload:
    """A model-neutral view of a spec, made by each model's `workload.py`; None where a field does not apply.

    Attributes:
        model: checkpoint URI or path that is loaded, empty for none; an adapter folder when `base_model` is set.
        batch_per_rank: samples per data-parallel rank and optimizer step.
        micro_batch: samples of one forward pass.
        epochs, scheduled_epochs: epochs after which the training ends, and those that its schedule spans, which are
            more where it stops early.
        max_steps: optimizer steps after which the training ends, whatever its epochs; None by epochs.
        max_tokens: longest sequence the run accepts.
        fps, num_frames: how videos are sampled; exactly one is set when videos are read.
        resume_from, resume: the checkpoint folder to resume from; without a name, the newest of the run directory.
        adds: it continues an earlier run of the same action in the run directory, and reuses the results saved there.
        validation_split: ratio below 1 or record count that is split off the training set; 0 for none.
        max_checkpoints, num_saves: newest checkpoints kept (-1 for all, 0 when none is written), and how many are
            written in all; the best one is kept in addition.
        inputs: everything else that is read.
        needs_whole_weights: weights are changed, or adapters are trained on them or merged into them, which a quantized
            checkpoint does not support.
        sized: the model's inspect module reports the memory of this action; for training it always does.
        hardware: a GPU that not every machine has, and what needs it.
        warm_up: of the learning rate, where the spec has one.
        limit: where only a subset of the records is taken.
        recipients: servers that get the inputs, or a part of them.
        unsized: paths of the spec that do not change the report of the model's inspect module, such as the learning
            rate: trials of a search share one report.

    """

    model: str = ""
    base_model: str | None = None
    resume_from: str | None = None
    resume: bool = False
    adds: bool = False
    trains: bool = False
    needs_whole_weights: bool = False
    sized: bool = False
    uses_adapter: bool = False
    inputs: tuple[Input, ...] = ()
    data_parallel_ranks: int = 1
    batch_per_rank: int | None = None
    micro_batch: int | None = None
    epochs: int | None = None
    scheduled_epochs: int | None = None
    max_steps: Annotated[int | None, OMITTED_IF_EMPTY] = None
    max_tokens: int | None = None
    fps: float | None = None
    num_frames: int | None = None
    validation_split: float = 0
    max_checkpoints: int | None = None
    num_saves: int | None = None
    hardware: HardwareNeed | None = None
    warm_up: WarmUp | None = None
    limit: Annotated[Limit | None, OMITTED_IF_EMPTY] = None
    recipients: Annotated[tuple[Recipient, ...], OMITTED_IF_EMPTY] = ()
    unsized: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of the inputs, in order."""
        return tuple(given.role for given in self.inputs)

    @property
    def input_paths(self) -> tuple[str, ...]:
        """Every local path or URI of the inputs, each once."""
        return tuple(dict.fromkeys(path for given in self.inputs for path in given.paths.values()))

    @property
    def paths_by_role(self) -> dict[str, list[str]]:
        """Every local path or URI that is read, by the role of what it names."""
        named = {
            "model": self.model,
            "base model": self.base_model,
            "checkpoint to resume from": self.resume_from,
        }
        found = {role: [path] for role, path in named.items() if path}
        for given in self.inputs:
            found.setdefault(given.role, []).extend(given.paths.values())
        return found

    @property
    def paths(self) -> tuple[str, ...]:
        """Every local path or URI that is read: checkpoints and inputs, each once."""
        checkpoints = (path for path in (self.model, self.base_model, self.resume_from) if path)
        return tuple(dict.fromkeys((*checkpoints, *self.input_paths)))


# --- job and plan -------------------------------------------------------------------------------------------------


@contract
class Route:
    """Who runs the request: the skill itself (direct) or the AutoML skill."""

    kind: Literal["direct", "automl"]
    skill: str
    reason: str
    skill_dir: str = ""


@contract
class Resources:
    """Processes of a run. `device` is `cpu` only for builtin models or when the request sets it."""

    nodes: int = 1
    processes_per_node: int = 1
    device: Literal["cpu", "cuda"] = "cuda"

    @property
    def world_size(self) -> int:
        return self.nodes * self.processes_per_node

    @property
    def hours(self) -> str:
        """What an hour of one of its processes is called."""
        return "CPU hours" if self.device == "cpu" else "GPU hours"


@contract
class Credential:
    """An environment variable that a skill needs. Only its name is ever handled.

    Attributes:
        models: shell patterns of the hub repositories that need it (gated ones); without any, all of them do.

    """

    name: str
    required: bool = True
    models: tuple[str, ...] = ()
    passed_as: Literal["docker_env_var"] = "docker_env_var"


@contract
class Job:
    """A resolved request: what to run, independent of the platform that runs it.

    Attributes:
        spec: the validated nested spec as the user reads it (`builtin://`, `hf_model://`).
        module: the training-plane module that torchrun starts.
        config_file: path of the rendered config, relative to `results_dir`.
        config: the spec as the trainer reads it: model URIs replaced by local folders.
        command: the program of a foreign container image that takes `--config FILE` in place of `module`.
        fetches: (URI, path) pairs that are downloaded before the module starts; for a URI with the fragment
            `#named-in=FILE`, only the media that an annotation file names.
        results_uri: where the run directory is uploaded while it grows, when results go to an object store.
        skill_dir: folder of the skill that owns the action.
        metric: the metric by which the skill judges the results of the action; None where it names none.
        resume_key: the path of `config` that, set to true, resumes from the newest checkpoint of the run directory, for
            a platform that restarts a job by itself; None where the action has none.

    """

    id: str
    skill: str
    action: str
    network_arch: str
    skill_dir: str
    module: str
    spec: dict[str, Any]
    config: dict[str, Any]
    config_file: str
    results_dir: str
    resources: Resources
    workload: Workload
    platform: PlatformRequest
    fetches: tuple[tuple[str, str], ...] = ()
    credentials: tuple[Credential, ...] = ()
    parent_job_id: str | None = None
    image: str | None = None
    command: tuple[str, ...] = ()
    upload_excludes: tuple[str, ...] = ()
    dataset_required_fields: tuple[str, ...] = ()
    distributed: bool = True
    metric: MonitoringMetric | None = None
    resume_key: str | None = None
    results_uri: str | None = None


@contract
class Launch:
    """Exactly what a platform submits: files below the run directory, and the command that starts the job."""

    files: dict[str, str]
    argv: tuple[str, ...]


@contract
class Plan:
    """A sealed plan. `sha256` covers every other field; a plan edited by hand is refused.

    Attributes:
        study: for the AutoML route, what is searched and how (`automl.study.Study`); then `job` is the trial with the
            request's own spec, and `argv` starts the controller that runs all trials.

    """

    job: Job
    request: Request
    route: Route
    findings: tuple[Finding, ...]
    files: dict[str, str]
    argv: tuple[str, ...]
    study: dict[str, Any] | None = None
    sha256: str = ""
    schema_version: Literal[2] = 2

    @property
    def launched_on(self) -> str:
        """The platform of the launched process: the controller of a search runs locally, wherever its trials run."""
        return self.job.platform.name if self.study is None else "local"

    @property
    def blocking(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "blocking")


# --- job records --------------------------------------------------------------------------------------------------


@contract
class Transition:
    """One change of a job's state; `source` names who reported it (dispatcher, backend, user)."""

    ts: str
    state: State
    message: str = ""
    source: str = ""


@contract
class JobRecord:
    """The durable record of one job; transitions are only ever appended, a terminal state never changes.

    `redacted` says that a secret was masked in it.
    """

    id: str
    platform: str
    network_arch: str
    skill: str
    action: str
    results_dir: str
    submitted_at: str
    schema_version: int = 1
    backend_ref: dict[str, Any] = field(default_factory=dict)
    image: str | None = None
    storage_tier: str = "local"
    results_uri: str | None = None
    upload_excludes: tuple[str, ...] = ()
    transitions: tuple[Transition, ...] = ()
    terminal_state: State | None = None
    redacted: bool = False
    parent_job: str | None = None
    retry_of: str | None = None
    err_class: Literal["ERR_INFRA", "ERR_PROGRAM"] | None = None
    is_unexplained: bool = False
    plan_sha256: str = ""

    @property
    def state(self) -> State:
        return self.transitions[-1].state if self.transitions else State.PENDING


EXIT_INTERRUPTED = 75  # EX_TEMPFAIL: a signal interrupted a training without loss; run again, it resumes
EXIT_PEER_LOST = 76  # another process of the job died and reports the cause


@contract
class JobStatus:
    """What the backend reports of a job now. `progress` is the newest line of status.jsonl.

    `upload` of results that go to an object store is `uploading`, `complete` or `incomplete`; otherwise empty.
    `findings` say what could not be recorded, and what keeps the job's state from being known. `is_unexplained` is set
    where something killed the job and nothing says what.
    """

    id: str
    state: State
    message: str = ""
    err_class: Literal["ERR_INFRA", "ERR_PROGRAM"] | None = None
    exit_code: int | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    upload: str = ""
    findings: tuple[Finding, ...] = ()
    is_unexplained: bool = False

    @property
    def is_interrupted(self) -> bool:
        """Whether a signal ended it without loss, so that it can resume."""
        return self.state is State.ERROR and self.exit_code == EXIT_INTERRUPTED


# --- JSON ---------------------------------------------------------------------------------------------------------


def to_json(value: Any) -> Any:
    """Return a contract as plain JSON values."""
    return pydantic.TypeAdapter(type(value)).dump_python(value, mode="json")


def from_json(kind: type[T], document: Mapping[str, Any], source: str) -> T:
    """Build a contract from JSON values.

    Raises:
        RequestError: it lists every field that is unknown, missing or of the wrong type.

    """
    try:
        return pydantic.TypeAdapter(kind).validate_json(json.dumps(document))
    except pydantic.ValidationError as error:
        problems = [_problem(detail, source, kind) for detail in error.errors(include_url=False)]
        raise RequestError(problems) from None


def read_json(kind: type[T], path: Path) -> T:
    """Read a contract from a JSON file. Raises RequestError when it is not one."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path} cannot be read as JSON: {error}"
        raise RequestError.of("unreadable_json", message, "Give a valid JSON file.", path=str(path)) from None
    return from_json(kind, document, str(path))


def _without_halves(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, (list, tuple)):
        return type(value)(_without_halves(item) for item in value)
    if isinstance(value, dict):
        return {_without_halves(key): _without_halves(item) for key, item in value.items()}
    return value


def _problem(detail: Any, source: str, kind: Any) -> Problem:
    path = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == UNEXPECTED and (known := _fields(kind, detail["loc"][:-1])):
        return _unknown_field(path, str(detail["loc"][-1]), source, known)
    return Problem(
        code=f"invalid_{detail['type']}",
        message=f"{source}: {path or 'document'}: {detail['msg']}",
        fix=f"Correct {path or 'the document'} in {source}.",
        path=path,
        got=detail["input"] if isinstance(detail["input"], (str, int, float, bool)) else None,
    )


def _unknown_field(path: str, name: str, source: str, known: list[str]) -> Problem:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    message = f"{source}: there is no field '{path}'." + (f" Did you mean '{nearest[0]}'?" if nearest else "")
    fix = f"Rename it to {nearest[0]}." if nearest else f"Remove it, or use one of: {', '.join(known)}."
    return Problem(f"invalid_{UNEXPECTED}", message, fix, path, expected=known)


def _fields(kind: Any, path: tuple[str | int, ...]) -> list[str]:
    """Return the fields of the dataclass at a path inside a contract; none where a path leads elsewhere."""
    for name in path:
        hints = typing.get_type_hints(kind) if is_dataclass(kind) else {}
        options = [hints.get(str(name)), *typing.get_args(hints.get(str(name)))]
        kind = next((option for option in options if is_dataclass(option)), None)
    return [each.name for each in fields(kind)] if is_dataclass(kind) else []
