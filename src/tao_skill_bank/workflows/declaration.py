"""What a workflow file may say. The published schema of it, schemas/workflow.schema.json, is generated from here."""

from dataclasses import field
from typing import Annotated, Any, Literal

import pydantic

from tao_skill_bank.contracts import contract

InputType = Literal["path", "text", "integer", "number", "boolean", "choice", "mapping", "dataset"]
Op = Literal["==", "!=", "<", "<=", ">", ">=", "in"]
ORDERED = ("<", "<=", ">", ">=")
ENGINE = "workflow"  # `${workflow.folder}` and `${workflow.iteration}` are what the engine itself gives


@contract
class InputField:
    """A value that a run of the workflow is given; `$NAME` stands for it.

    Attributes:
        type: a path is made absolute unless it is a URI; a choice is one of `choices`; a mapping, such as overrides of
            a request, is YAML where it is typed; a dataset is the path of one, or {annotation_path, media_path}.
        default: taken where none is given; without one, an input that is not required is null.

    """

    type: InputType
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()
    description: str = ""


@contract
class Limits:
    """What a run may not exceed; a text is `$NAME` of an input. Data goes to no host but this machine unless listed.

    Attributes:
        iterations: of each loop.
        gpu_hours: of all jobs together, spent and estimated; hours of processes where they run on a CPU.
        disk_gib: of the run folder.
        rows: that stages write into new datasets, together.
        hosts: to which stages and requests may send data.

    """

    iterations: int | str | None = None
    gpu_hours: float | str | None = None
    disk_gib: float | str | None = None
    rows: int | str | None = None
    hosts: tuple[str, ...] = ()


@contract
class Condition:
    """A comparison: `value` is STEP.OUTPUT of an earlier step, or the name of an input. Nothing is evaluated."""

    value: str
    op: Op
    constant: Any


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Conditions = Annotated[
    tuple[Condition, ...], pydantic.BeforeValidator(_as_list, json_schema_input_type=Condition | list[Condition])
]


@contract
class Step:
    """One step: exactly one of `request`, `stage` and `stop`.

    Attributes:
        request: an ordinary request (schemas/request.schema.json); `$NAME` and `${STEP.OUTPUT}` stand for values.
        stage: a registered stage, with its `arguments`.
        parent: the earlier step whose job provides the checkpoint of the request.
        when: the step is skipped unless all of these hold.
        stop: why the loop around it, or else the workflow, ends here; it needs `when`.

    """

    name: str
    description: str = ""
    request: dict[str, Any] | None = None
    stage: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    parent: str | None = None
    when: Conditions = ()
    stop: str | None = None

    @property
    def kind(self) -> str:
        """What the step is: request, stage, stop, or repeat."""
        return next((kind for kind in ("request", "stage", "stop") if getattr(self, kind) is not None), "repeat")


@contract
class Repeat:
    """Steps that are run again until all of `until` hold after an iteration, at most `at_most` times."""

    steps: tuple[Step, ...]
    at_most: int | str
    until: Conditions = ()


@contract
class OuterStep(Step):
    """A step of the workflow itself, which may be a loop over others instead."""

    repeat: Repeat | None = None


@contract
class Workflow:
    """A workflow file: inputs, limits and steps in the order in which they run."""

    name: str
    steps: tuple[OuterStep, ...]
    description: str = ""
    inputs: dict[str, InputField] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
