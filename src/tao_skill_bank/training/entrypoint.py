"""The frame of every program of the training plane: it reads the config and records states and the exit code.

A user's mistake ends in one line on stderr and a FAILURE line with its fix. Our own bug keeps its traceback. Each
rank writes `exit/rank_<N>.json`, because torchrun hides its children's exit codes.
"""

import argparse
import logging
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from tao_skill_bank.contracts import EXIT_INTERRUPTED, EXIT_PEER_LOST
from tao_skill_bank.core import lifeline, settings
from tao_skill_bank.core.redact import mask_output
from tao_skill_bank.errors import BlockedError, ConflictError, JobFailedError, Problem, TaoSkillsError
from tao_skill_bank.runs import fencing, writer_lock
from tao_skill_bank.runs.last_word import MARK
from tao_skill_bank.runs.status_log import Diagnosis, StatusWriter
from tao_skill_bank.training import distributed, endings, required_inputs
from tao_skill_bank.training.config import load_spec
from tao_skill_bank.training.distributed import Ranks
from tao_skill_bank.training.endings import INTERRUPTED
from tao_skill_bank.training.interruption import Canceled, Interruption

T = TypeVar("T")
EXIT_CANCELED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Run:
    """What a program gets in addition to its spec: where results go, its ranks, and how to report progress."""

    results_dir: Path
    ranks: Ranks
    status: StatusWriter
    interruption: Interruption = field(default_factory=Interruption)


def main(
    kind: type[T],
    body: Callable[[T, Run], str],
    results_dir: Callable[[T], str | None],
    timeout: timedelta = distributed.TIMEOUT,
    *,
    resume_key: str | None = None,
    load_libraries: Callable[[T], None] = lambda _: None,
) -> None:
    """Run a program to its end and exit the process.

    Args:
        kind: the spec dataclass that `--config` holds.
        body: the program; returns the message of the SUCCESS line.
        results_dir: returns the run directory of a spec; None means the config's own folder.
        timeout: how long a rank waits for the others.
        resume_key: see `run`.
        load_libraries: imports what a program with this spec uses later, see `training.imports`.

    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True, help="TOML file with the spec")
    config_file = parser.parse_args().config
    mask_output()
    lifeline.end_with_starter()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        spec = load_spec(kind, config_file)
    except TaoSkillsError as error:
        endings.print_problems(error)
        sys.exit(error.exit_code)
    folder = Path(results_dir(spec) or config_file.parent).absolute()

    def loaded(spec: T, run: Run) -> str:
        load_libraries(spec)
        return body(spec, run)

    distributed.leave(run(spec, loaded, folder, timeout, resume_key=resume_key))


def run(
    spec: T,
    body: Callable[[T, Run], str],
    folder: Path,
    timeout: timedelta = distributed.TIMEOUT,
    *,
    resume_key: str | None = None,
) -> int:
    """Run a program on its spec, record every state in `folder`, and return the exit code.

    It starts once everything that the spec reads is on this machine.

    With a `resume_key` (the program resumes when it is set to true), a signal that ends the program before it defers
    signals counts as an interruption that loses nothing. The run directory of another writer is left as it is.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with writer_lock.joined(folder) if settings.is_rank_0() else nullcontext():
            return _run(spec, body, folder, timeout, resume_key)
    except ConflictError as error:  # the run directory is another writer's
        endings.print_problems(error)
        return error.exit_code
    except OSError as error:
        message = f"The run directory {folder} cannot be written: {error.strerror or error}"
        endings.print_problems(
            BlockedError.of("results_dir_unwritable", message, "Make it writable, or choose another one.")
        )
        return BlockedError.exit_code
    finally:
        fencing.adopt(None)


def _run(spec: T, body: Callable[[T, Run], str], folder: Path, timeout: timedelta, resume_key: str | None) -> int:
    interruption = Interruption(is_starting=resume_key is not None)
    interruption.watch()
    ranks: Ranks | None = None
    status = StatusWriter(folder, enabled=False)
    try:
        ranks = _start(folder, timeout)
        status.enabled = ranks.is_main
        if not (folder / MARK).exists():  # else another rank has failed already
            status.write("STARTED", f"{ranks.world} process{'es' if ranks.world > 1 else ''} on {ranks.device.type}")
        required_inputs.require(spec, folder)
        message = body(spec, Run(folder, ranks, status, interruption))
        ranks.barrier()
        status.write("SUCCESS", message)
        code, diagnosis = 0, None
    except BaseException as error:  # noqa: BLE001 - every end of a program is recorded
        code, diagnosis = _interrupted_at_start(error, interruption, resume_key) or _explain(error, resume_key)
    interruption.ignore()  # torchrun ends the other ranks; this record must be complete
    if (superseded := _superseded(diagnosis)) is not None:
        return superseded
    if diagnosis is not None and _is_reporter(diagnosis, folder, ranks):
        status.write("FAILURE", diagnosis.cause, diagnosis=diagnosis)
    _write_exit(folder, ranks, code, diagnosis)
    if code == 0:
        distributed.stop()
    return code


def _superseded(diagnosis: Diagnosis | None) -> int | None:
    """Return the exit code where another writer has started since: then nothing is recorded in its run directory."""
    try:
        fencing.require_current()
    except TaoSkillsError as error:
        if diagnosis is None or diagnosis.code != fencing.SUPERSEDED:
            endings.print_problems(error)
        return error.exit_code
    return None


def _start(folder: Path, timeout: timedelta) -> Ranks:
    """Join the other ranks; rank 0 removes the records of an earlier run before it does, and supersedes its writers."""
    if dist.get_node_local_rank(fallback_rank=0) == 0:
        shutil.rmtree(folder / "exit", ignore_errors=True)
    ranks = distributed.start(timeout)
    fencing.adopt(ranks.gather(fencing.begin(folder) if ranks.is_main else None)[0])
    return ranks


def _interrupted_at_start(
    error: BaseException, interruption: Interruption, resume_key: str | None
) -> tuple[int, Diagnosis] | None:
    """Return the exit code and diagnosis of a signal before there was work to lose; None for any other end.

    Under torchrun SIGTERM does not count: it means that another rank has died.
    """
    if not (interruption.is_starting and isinstance(error, Canceled)):
        return None
    if error.number == signal.SIGTERM and dist.is_torchelastic_launched():
        return None
    cause = "A signal interrupted the training before its first step: nothing was trained, and nothing is lost."
    fix = f"Run it again with {resume_key}=true: it begins at the same step."
    problem = Problem(INTERRUPTED, cause, fix)
    endings.print_problems(TaoSkillsError([problem]))
    return EXIT_INTERRUPTED, Diagnosis.of(problem)


def _explain(error: BaseException, resume_key: str | None) -> tuple[int, Diagnosis]:
    """Return the exit code and diagnosis of an exception, and report it on stderr."""
    if isinstance(error, torch.OutOfMemoryError):
        error = JobFailedError.of(
            "cuda_out_of_memory",
            f"The GPU is out of memory: {str(error).splitlines()[0]}",
            "Lower the batch size or the size of a sample, or use more GPUs or GPUs with more memory.",
        )
    if isinstance(error, (Canceled, KeyboardInterrupt)):
        name = str(error) or "SIGINT"
        cause = f"Ended by {name}: the job was canceled, or another process of it died."
        code = 128 + error.number if isinstance(error, Canceled) else EXIT_CANCELED
        continues = f"; {resume_key}=true continues from the newest checkpoint" if resume_key else ""
        return code, Diagnosis("canceled", cause, f"Run it again{continues}.")
    if _is_lost_peer(error):
        cause = "Another process of the job died, or the connection to it broke."
        return EXIT_PEER_LOST, Diagnosis("peer_died", cause, "Read the log of the rank that failed first.")
    return endings.explain(error)


def _is_lost_peer(error: BaseException) -> bool:
    """Return whether a collective broke. Gloo raises a plain RuntimeError that names its own source file."""
    is_gloo = isinstance(error, RuntimeError) and "gloo/transport" in str(error)
    return is_gloo or isinstance(error, dist.DistError)


def _is_reporter(diagnosis: Diagnosis, folder: Path, ranks: Ranks | None) -> bool:
    """Return whether this rank reports why the run failed: the first that failed, or rank 0 of an interruption."""
    if diagnosis.code != INTERRUPTED:
        return _is_first(folder)
    is_main = ranks.is_main if ranks else dist.get_node_local_rank(fallback_rank=0) == 0
    if is_main:
        _is_first(folder)
    return is_main


def _is_first(folder: Path) -> bool:
    """Return whether no other rank has taken the report; from now on this one has it.

    A file that only one rank can create decides, so that of two that fail in the same moment one reports.
    """
    (folder / "exit").mkdir(exist_ok=True)
    try:
        (folder / MARK).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _write_exit(folder: Path, ranks: Ranks | None, code: int, diagnosis: Diagnosis | None) -> None:
    endings.write_exit(folder, ranks.rank if ranks else dist.get_node_local_rank(fallback_rank=0), code, diagnosis)
