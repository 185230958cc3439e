"""What a run has done so far, rebuilt from its log: the newest event of every step, jobs and outputs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import to_json
from tao_skill_bank.errors import ConflictError
from tao_skill_bank.runs.run_directory import masked_json, timestamp, write_whole
from tao_skill_bank.workflows.log import Artifact, Event

FILE = "state.json"
Key = tuple[str, int]  # step and iteration


@dataclass(frozen=True)
class History:
    """The events of a run in order."""

    events: tuple[Event, ...]

    @property
    def newest(self) -> dict[Key, Event]:
        """The newest event of every step in every iteration, in the order in which they began."""
        found: dict[Key, Event] = {}
        for event in self.events:
            if event.step:
                found[event.step, event.iteration] = event
        return found

    @property
    def job_ids(self) -> list[str]:
        """Every job that was launched, or was about to be."""
        return list(dict.fromkeys(event.job for event in self.events if event.job))

    @property
    def rows(self) -> int:
        """Rows that stages wrote so far."""
        done = (event for event in self.newest.values() if event.status == "ok")
        return sum(rows for event in done if isinstance(rows := event.outputs.get("rows"), int))

    @property
    def is_complete(self) -> bool:
        """Whether the run has ended well."""
        return any(not event.step and event.status == "ok" for event in self.events)

    def done(self, key: Key) -> Event | None:
        """Return the event that ended a step well, or skipped it; None where it has not ended so."""
        event = self.newest.get(key)
        return event if event is not None and event.status in ("ok", "skipped") else None

    def jobs_of(self, key: Key) -> list[str]:
        """Return the jobs of a step, the newest last."""
        return list(dict.fromkeys(each.job for each in self.events if (each.step, each.iteration) == key and each.job))


def write_snapshot(folder: Path, facts: Mapping[str, Any], history: History) -> None:
    """Write state.json, which anyone may read and nothing depends on. Raises OSError."""
    steps = [to_json(event) for event in history.newest.values()]
    write_whole(folder / FILE, masked_json({**facts, "updated_at": timestamp(), "steps": steps}))


def require_intact(event: Event) -> None:
    """Raise ConflictError where a file that a finished step promised is gone or has another size."""
    changed = list(_changed(event.artifacts))
    if changed:
        message = f"The step '{event.step}' is done, but {changed[0]} is not what it wrote any more."
        fix = "Restore the file, or start the workflow in another --folder."
        raise ConflictError.of("artifact_changed", message, fix, path=changed[0])


def _changed(artifacts: Iterable[Artifact]) -> Iterator[str]:
    for artifact in artifacts:
        path = Path(artifact.path)
        if not path.is_file() or path.stat().st_size != artifact.bytes:
            yield artifact.path
