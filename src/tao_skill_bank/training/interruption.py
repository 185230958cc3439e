"""What SIGTERM and SIGUSR1 do: end the process at once, or let a training save a checkpoint first.

Schedulers send one of them before a time limit or a preemption. A training that is still starting has nothing to save
and ends at once. Later it defers the first signal to the end of its optimizer step, where all ranks agree to stop; a
second one ends it at once.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the launcher, which knows only the signals, loads no torch
    from tao_skill_bank.training.distributed import Ranks

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
# One request may arrive twice: from the platform, which signals every process of a job, and from torchrun.
REPEAT_SECONDS = 3.0


class Canceled(BaseException):
    """SIGTERM or SIGUSR1 arrived, and nothing is to be saved."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def outlive_one_signal(worker: int) -> None:  # noqa: ARG001 - the signature of a loader's worker_init_fn
    """Let a loader process outlive the signal that its trainer defers; a signaled process group includes both.

    The second SIGTERM ends it: its trainer sends more than one to a worker that does not end by itself.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: signal.signal(number, signal.SIG_DFL))


class Interruption:
    """The signals of this process, and what to do about them.

    `is_starting` says that a training which ends now loses nothing: run again, it begins at the same step.
    """

    def __init__(self, *, is_starting: bool = False) -> None:
        self.is_starting = is_starting
        self.received: int | None = None
        self._received_at = 0.0
        self._is_deferred = False

    def watch(self) -> None:
        """Take over SIGTERM and SIGUSR1; needs the main thread."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def ignore(self) -> None:
        """Ignore both signals from now on, while a process that ends anyway writes its last record."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def deferred(self, *, saves: bool = True) -> Iterator[None]:
        """Only note the first signal inside, where there is work to lose; unless nothing `saves` that work."""
        self.is_starting = False
        self._is_deferred = saves
        try:
            yield
        finally:
            self._is_deferred = False

    @property
    def is_requested(self) -> bool:
        """Whether this process received a signal; other processes of the job may have."""
        return self.received is not None

    def agreed(self, ranks: "Ranks") -> bool:
        """Return whether any rank received a signal. Every rank calls this."""
        return ranks.max([self.is_requested])[0] > 0

    def _handle(self, number: int, frame: FrameType | None) -> Any:  # noqa: ARG002 - the signature of a handler
        now = time.monotonic()
        if not self._is_deferred:
            raise Canceled(number)
        if self.received is None:
            self.received, self._received_at = number, now
        elif now - self._received_at > REPEAT_SECONDS:
            raise Canceled(number)
