"""Reports the progress of a transfer periodically, for the log and the job's status."""

import threading
import time
from collections.abc import Callable

EVERY_SECONDS = 5.0


class Progress:
    """Counts files and bytes of several threads, and periodically calls `report` with a progress line."""

    def __init__(self, what: str, num_files: int, num_bytes: int, report: Callable[[str], None]) -> None:
        self.what, self.num_files, self.num_bytes, self.report = what, num_files, num_bytes, report
        self.files = self.bytes = 0
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._last_report = self._began

    def add(self, *, files: int = 0, num_bytes: int = 0) -> None:
        """Count what was transferred."""
        with self._lock:
            self.files += files
            self.bytes += num_bytes
            now = time.monotonic()
            if now - self._last_report < EVERY_SECONDS:
                return
            self._last_report = now
        self.report(self.line())

    def line(self) -> str:
        """Return the progress and the transfer rate."""
        rate = self.bytes / max(1e-3, time.monotonic() - self._began)
        done = f"{self.files} of {self.num_files} files, {mib(self.bytes)} of {mib(self.num_bytes)} MiB"
        return f"{self.what}: {done}, {mib(rate)} MiB/s"


def mib(num_bytes: float) -> str:
    """Return a byte count formatted in MiB."""
    return f"{num_bytes / 2**20:.1f}"
