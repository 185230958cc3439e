"""Events that a receiver has not taken yet, kept in the state folder until the next `watch` that posts there."""

import fcntl
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tao_skill_bank.core import settings
from tao_skill_bank.runs.run_directory import masked_json, read_json_file, write_whole

MAX_EVENTS = 1000
Document = dict[str, Any]


class Outbox:
    """What waits for one URL, oldest first; `events` may be changed while it is open.

    The URL may hold a credential, so the file's name is a hash of it.

    Attributes:
        events: what waits, at most `MAX_EVENTS`.
        num_dropped: older events that were dropped since everything was delivered last.
        why_not_kept: why the events live in this process alone; empty where they are on disk.

    """

    def __init__(self, url: str, folder: Path | None = None) -> None:
        name = hashlib.sha256(url.encode()).hexdigest()[:16]
        self.path = (folder or settings.state_dir() / "outbox") / f"{name}.json"
        self.events: list[Document] = []
        self.num_dropped = 0
        self.why_not_kept = ""

    @contextmanager
    def opened(self, new: Sequence[Document] = ()) -> Iterator[list[Document]]:
        """Give what waits, `new` events last, to one process at a time; what is left of it is kept."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self.path.with_suffix(".lock").open("a")
        except OSError as error:
            self.why_not_kept = error.strerror or str(error)
            self._add(new)
            yield self.events
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released with the file, also when this process dies
            self._read()
            self._add(new)
            self._write()  # before anything is posted: this process may be killed meanwhile
            try:
                yield self.events
            finally:
                self.num_dropped = self.num_dropped if self.events else 0
                self._write()

    def _read(self) -> None:
        own = self.events if self.why_not_kept else []  # of a time when nothing could be written
        document = read_json_file(self.path)
        if not isinstance(document, dict):
            document = {}
            with suppress(OSError):  # not an outbox: kept for whoever wants to see it
                self.path.replace(self.path.with_suffix(".unreadable"))
        listed = document.get("events")
        kept = [event for event in (listed if isinstance(listed, list) else ()) if _is_event(event)]
        known = {event["id"] for event in kept}
        self.events = [*kept, *(event for event in own if event["id"] not in known)]
        dropped = document.get("num_dropped")
        self.num_dropped = dropped if isinstance(dropped, int) else 0

    def _add(self, new: Sequence[Document]) -> None:
        known = {event["id"] for event in self.events}
        self.events += [event for event in new if event["id"] not in known]
        too_many = max(0, len(self.events) - MAX_EVENTS)
        del self.events[:too_many]
        self.num_dropped += too_many

    def _write(self) -> None:
        try:
            if self.events:
                write_whole(self.path, masked_json({"num_dropped": self.num_dropped, "events": self.events}))
            else:
                self.path.unlink(missing_ok=True)
            self.why_not_kept = ""
        except OSError as error:
            self.why_not_kept = error.strerror or str(error)


def _is_event(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("id"), str)
