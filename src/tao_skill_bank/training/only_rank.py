"""The only rank of a job: a child of the launcher that needs no rendezvous, so that no torch is loaded to start it."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from tao_skill_bank.core import settings

ARGUMENTS = ("--standalone", "--nproc_per_node", "1", "-m")  # what a launch of one process begins with
SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # that torchrun also passes on to its ranks
SET_BY_TORCHRUN = frozenset(
    {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"}
)


def environment() -> dict[str, str]:
    """Return the environment of this process for a child that is a job of its own: of one process."""
    return {name: value for name, value in settings.child_environment().items() if name not in SET_BY_TORCHRUN}


def run(words: Sequence[str]) -> int:
    """Run a module with its arguments to its end; return its exit code, or minus the signal that ended it."""
    with subprocess.Popen([sys.executable, "-u", "-m", *words], env=environment()) as rank:

        def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
            rank.send_signal(number)

        for number in SIGNALS:
            signal.signal(number, pass_on)
        code = rank.wait()
    if code:
        name = f" ({signal.Signals(-code).name})" if code < 0 else ""
        sys.stderr.write(f"{words[0]} failed\n  exitcode  : {code} (pid: {rank.pid}){name}\n")
    return code
