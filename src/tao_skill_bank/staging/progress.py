"""Tells how far a transfer is: a line now and then, for the log and for the job's status."""

import threading
import time
from collections.abc import Callable

EVERY_SECONDS = 5.0


class Progress:
    """Counts files and bytes of several threads, and tells them to `tell` now and then."""

    def __init__(self, what: str, num_files: int, num_bytes: int, tell: Callable[[str], None]) -> None:
        self.what, self.num_files, self.num_bytes, self.tell = what, num_files, num_bytes, tell
        self.files = self.bytes = 0
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._told = self._began

    def add(self, *, files: int = 0, num_bytes: int = 0) -> None:
        """Count what was transferred."""
        with self._lock:
            self.files += files
            self.bytes += num_bytes
            now = time.monotonic()
            if now - self._told < EVERY_SECONDS:
                return
            self._told = now
        self.tell(self.line())

    def line(self) -> str:
        """Return how far it is, and how fast."""
        rate = self.bytes / max(1e-3, time.monotonic() - self._began)
        done = f"{self.files} of {self.num_files} files, {mib(self.bytes)} of {mib(self.num_bytes)} MiB"
        return f"{self.what}: {done}, {mib(rate)} MiB/s"


def mib(num_bytes: float) -> str:
    """Return a byte count in MiB for people."""
    return f"{num_bytes / 2**20:.1f}"
