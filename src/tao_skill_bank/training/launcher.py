"""torchrun for trainings that save on a signal: `python -m tao_skill_bank.training.launcher TORCHRUN_ARGUMENTS`.

It differs from `torch.distributed.run` in two ways. SIGTERM and SIGUSR1 are only forwarded to the ranks: torchrun
itself does not forward SIGUSR1, and kills a rank 30 seconds after SIGTERM, which is too short for a large checkpoint;
how long a job may take to end is up to its platform. Both reach the ranks as SIGUSR1, since torchrun sends SIGTERM to
them when another rank has died. And it exits with the code of the rank that failed first, where torchrun always exits
with 1, or with EXIT_PEER_LOST where the nodes did not find each other.

Its ranks end with it, whatever ends it, and inherit the lock of the run directory, in which it runs. The only process
of a job is started without torchrun.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tao_skill_bank.contracts import EXIT_PEER_LOST
from tao_skill_bank.core import lifeline, settings
from tao_skill_bank.core.redact import mask_output
from tao_skill_bank.errors import ConflictError
from tao_skill_bank.runs import writer_lock
from tao_skill_bank.training import only_rank
from tao_skill_bank.training.interruption import SIGNALS

TORCHRUN_SIGNALS = "SIGINT,SIGHUP,SIGQUIT"  # its default without SIGTERM
SIGNALED = 128


def main() -> None:
    """Run torchrun on the command line's arguments and exit the process."""
    mask_output()
    for number in SIGNALS:
        signal.signal(number, _pass_on)
    os.environ.update(lifeline.for_children())
    words, start = sys.argv[1:], len(only_rank.ARGUMENTS)
    try:
        with _locked():
            if tuple(words[:start]) == only_rank.ARGUMENTS:
                sys.exit(exit_code(only_rank.run(words[start:])))
            _run_torchrun(words)
    except ConflictError as error:
        sys.stderr.write(f"error: {error.problems[0].message} Fix: {error.problems[0].fix}\n")
        sys.exit(error.exit_code)


def _run_torchrun(words: list[str]) -> NoReturn:
    from torch.distributed import DistError, run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError

    try:
        run.main(["--signals-to-handle", TORCHRUN_SIGNALS, *words])
    except ChildFailedError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(exit_code(error.get_first_failure()[1].exitcode))
    except (RendezvousError, DistError) as error:
        sys.stderr.write(f"The nodes of the job did not find each other: {error}\n")
        sys.exit(EXIT_PEER_LOST)
    sys.exit(0)


def exit_code(code: int) -> int:
    """Return the exit code of the job from that of the rank that failed first; a signal's gives 128 + its number."""
    return SIGNALED - code if code < 0 else code


@contextmanager
def _locked() -> Iterator[None]:
    """Hold the lock of the job's run directory, where that is the working directory and can be written."""
    run_dir = Path.cwd()
    is_job = settings.job_id() and (run_dir / "plan.json").is_file() and os.access(run_dir, os.W_OK)
    with writer_lock.joined(run_dir) if is_job else nullcontext():
        yield


def _pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
    ranks = _children()
    if not ranks:
        sys.exit(SIGNALED + number)  # torchrun ends the processes that it has started
    for rank in ranks:
        with suppress(ProcessLookupError):
            os.kill(rank, signal.SIGUSR1)


def _children() -> list[int]:
    """Return the process ids of the ranks; none where the system has no /proc."""
    lists = Path("/proc/self/task").glob("*/children")
    return [int(word) for path in lists for word in path.read_text(encoding="ascii").split()]


if __name__ == "__main__":
    main()
