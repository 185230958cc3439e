"""What stands before the report of several runs: the workflow that they belong to."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class StepRow:
    """A step of a workflow: its state, how long it took, what came of it, and its job where it has one."""

    name: str
    state: str
    seconds: float | None
    summary: str
    job: str


@dataclass(frozen=True)
class Table:
    """A section of its own.

    Attributes:
        columns: their heads; a row has as many texts.
        bars: for each row a share from 0 to 1 that is drawn, where there are some.
        note: a remark below the head.

    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bars: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Opening:
    """A workflow by its name, one sentence about its run, what else is to be said of it, and its steps."""

    title: str
    sentence: str
    steps: tuple[StepRow, ...]
    tables: tuple[Table, ...] = field(default_factory=tuple)
