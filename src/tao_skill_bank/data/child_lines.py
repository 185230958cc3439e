"""Reads the lines that a child process prints, each within a time limit, so that one that hangs is noticed."""

import os
import select
import time
from subprocess import Popen

CHUNK_BYTES = 1 << 16


class ChildLines:
    """The lines of a child's stdout, which must be a pipe that nobody else reads."""

    def __init__(self, child: "Popen[bytes]") -> None:
        assert child.stdout
        self._pipe = child.stdout.fileno()
        self._waiting: list[bytes] = []
        self._begun = b""

    def next(self, timeout_seconds: float) -> bytes | None:
        """Return the next complete line; empty when the child ended before it, None when it takes too long."""
        end = time.monotonic() + timeout_seconds
        while not self._waiting:
            left = max(0.0, end - time.monotonic())
            if not select.select([self._pipe], [], [], left)[0]:
                return None
            chunk = os.read(self._pipe, CHUNK_BYTES)
            if not chunk:
                return b""
            *complete, self._begun = (self._begun + chunk).split(b"\n")
            self._waiting = complete[::-1]
        return self._waiting.pop()
