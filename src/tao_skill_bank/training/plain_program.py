"""The frame of a program of one process that needs no torch, such as one that asks a server.

Like `entrypoint` it reads the config and records states and the exit code. Such a program keeps every piece of its work
on the disk, so that a signal loses nothing: it counts as an interruption, after which the job may be retried.
"""

import argparse
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tao_skill_bank.contracts import EXIT_INTERRUPTED
from tao_skill_bank.core import lifeline
from tao_skill_bank.core.redact import mask_output
from tao_skill_bank.errors import BlockedError, ConflictError, TaoSkillsError
from tao_skill_bank.runs import fencing, writer_lock
from tao_skill_bank.runs.status_log import Diagnosis, StatusWriter
from tao_skill_bank.training import endings, required_inputs
from tao_skill_bank.training.config import load_spec
from tao_skill_bank.training.interruption import Canceled, Interruption

T = TypeVar("T")


@dataclass(frozen=True)
class PlainRun:
    """What a program gets in addition to its spec: where results go, and how to report progress."""

    results_dir: Path
    status: StatusWriter


def main(kind: type[T], body: Callable[[T, PlainRun], str], results_dir: Callable[[T], str | None]) -> None:
    """Run a program to its end and exit the process.

    Args:
        kind: the spec dataclass that `--config` holds.
        body: the program; returns the message of the SUCCESS line.
        results_dir: returns the run directory of a spec; None means the config's own folder.

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
    sys.exit(run(spec, body, Path(results_dir(spec) or config_file.parent).absolute()))


def run(spec: T, body: Callable[[T, PlainRun], str], folder: Path) -> int:
    """Run a program on its spec, record every state in `folder`, and return the exit code.

    The run directory of another writer is left as it is.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with writer_lock.joined(folder):
            return _run(spec, body, folder)
    except ConflictError as error:  # the run directory is another writer's
        endings.print_problems(error)
        return error.exit_code
    except OSError as error:
        message = f"The run directory {folder} cannot be written: {error.strerror or error}"
        fix = "Make it writable, or choose another one."
        endings.print_problems(BlockedError.of("results_dir_unwritable", message, fix))
        return BlockedError.exit_code
    finally:
        fencing.adopt(None)


def _run(spec: T, body: Callable[[T, PlainRun], str], folder: Path) -> int:
    interruption = Interruption()
    interruption.watch()
    status = StatusWriter(folder)
    code, diagnosis = 0, None
    try:
        shutil.rmtree(folder / "exit", ignore_errors=True)
        fencing.begin(folder)
        status.write("STARTED", "1 process without a GPU")
        required_inputs.require(spec, folder)
        status.write("SUCCESS", body(spec, PlainRun(folder, status)))
    except BaseException as error:  # noqa: BLE001 - every end of a program is recorded
        code, diagnosis = _explain(error)
    interruption.ignore()
    try:
        if diagnosis is not None:
            status.write("FAILURE", diagnosis.cause, diagnosis=diagnosis)
    except TaoSkillsError as error:  # another writer has started since: nothing more is recorded
        return error.exit_code
    endings.write_exit(folder, 0, code, diagnosis)
    return code


def _explain(error: BaseException) -> tuple[int, Diagnosis]:
    if isinstance(error, (Canceled, KeyboardInterrupt)):
        cause = f"{error or 'SIGINT'} interrupted it: what is done is kept, and nothing is lost."
        return EXIT_INTERRUPTED, Diagnosis(endings.INTERRUPTED, cause, "Run it again in the same results_dir.")
    return endings.explain(error)
