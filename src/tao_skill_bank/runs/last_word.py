"""The line of status.jsonl that says how a run stands, where the ranks of a job write lines at the same time.

The first rank that fails writes FAILURE; rank 0 may write STARTED or RUNNING after it, before it is stopped. A run that
is started again in the same folder continues the file as well: a line counts where it belongs to a later start.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MARK = "exit/reported"  # in the run directory while a failure of its current start is reported
STARTED_AGAIN = frozenset(
    {"interrupted", "canceled", "peer_died"}
)  # failures after which a platform starts a run again


@dataclass
class LastWord:
    """The newest line, and the newest failure as far as later lines may be late ones."""

    last: Mapping[str, Any] = field(default_factory=dict)
    failure: Mapping[str, Any] | None = None
    has_worked_since: bool = False

    def read(self, line: Mapping[str, Any]) -> None:
        """Take the next line into account."""
        state = line.get("state")
        self.last = line
        if state == "FAILURE":
            self.failure, self.has_worked_since = line, False
        elif self.failure is not None and state != "STARTED":
            self.has_worked_since = True

    def of(self, *, is_marked: bool) -> Mapping[str, Any]:
        """Return the line that counts. `is_marked`: the run directory holds the mark of a reported failure."""
        if self.failure is None or self.last.get("state") not in ("STARTED", "RUNNING"):
            return self.last
        diagnosis = self.failure.get("diagnosis")
        code = diagnosis.get("code") if isinstance(diagnosis, Mapping) else None
        is_late = is_marked or not (self.has_worked_since or code is None or code in STARTED_AGAIN)
        return self.failure if is_late else self.last
