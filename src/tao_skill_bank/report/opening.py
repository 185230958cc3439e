"""What stands before the report of several runs: the workflow that they belong to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepRow:
    """A step of a workflow: its state, how long it took, what came of it, and its job where it has one."""

    name: str
    state: str
    seconds: float | None
    summary: str
    job: str


@dataclass(frozen=True)
class Opening:
    """A workflow by its name, one sentence about its run, and its steps."""

    title: str
    sentence: str
    steps: tuple[StepRow, ...]
