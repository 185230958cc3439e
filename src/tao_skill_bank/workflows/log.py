"""The append-only log of a run, one event per line, on the disk before anything follows from it."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tao_skill_bank.contracts import Finding, contract, from_json, to_json
from tao_skill_bank.core import findings, json_reader, regular_files
from tao_skill_bank.core.redact import masked
from tao_skill_bank.errors import RequestError
from tao_skill_bank.runs.run_directory import sync_folder, timestamp

FILE = "loop_log.jsonl"
Status = Literal["started", "ok", "skipped", "failed"]


@contract
class Artifact:
    """A file that a step promised, as it was when the step was done."""

    path: str
    bytes: int
    sha256: str


@contract
class Event:
    """What became of a step, or with an empty `step` of the whole run.

    Attributes:
        iteration: of the loop around the step, from 1; 0 outside of a loop.
        job: of a request; where it started, the intent to launch this job.
        sha256: of the plan of the job.

    """

    step: str
    status: Status
    iteration: int = 0
    time: str = field(default_factory=timestamp)
    summary: str = ""
    seconds: float | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    job: str | None = None
    folder: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Read:
    """The events of a log, and the numbers of lines that are none: torn by a kill, or edited."""

    events: tuple[Event, ...]
    ignored: tuple[int, ...] = ()


def append(folder: Path, event: Event) -> None:
    """Add an event and wait until it is on the disk. Raises OSError."""
    path = folder / FILE
    is_new = not path.exists()
    line = json.dumps(masked(to_json(event)), ensure_ascii=False, allow_nan=False)
    with path.open("ab+") as file:
        file.write((b"" if is_new or _ends_whole(path) else b"\n") + line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_folder(folder)


def read(folder: Path) -> Read:
    """Return the events in order; a missing log has none. Raises OSError where it cannot be read."""
    events: list[Event] = []
    ignored: list[int] = []
    try:
        with regular_files.opened(folder / FILE) as file:
            for number, line in enumerate(file, start=1):
                try:
                    events.append(from_json(Event, json_reader.loads(line), "event"))
                except (ValueError, RequestError, TypeError):
                    ignored += [number] if line.strip() else []
    except FileNotFoundError:
        return Read(())
    return Read(tuple(events), tuple(ignored))


def notes(path: Path, ignored: Sequence[int]) -> list[Finding]:
    """Return that lines were ignored, where some were."""
    if not ignored:
        return []
    shown = findings.listed(list(ignored[: findings.MAX_LISTED]), len(ignored))
    message = f"{path} has {len(ignored)} lines that hold no event (line {shown}): a kill tore them, or they were "
    message += "edited. They are ignored; what they may have said of jobs is read from the jobs themselves."
    return [findings.warning("log_lines_ignored", message, "None is needed.", str(path), lines=list(ignored))]


def _ends_whole(path: Path) -> bool:
    with regular_files.opened(path) as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
