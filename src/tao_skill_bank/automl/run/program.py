"""The program of a search: `python -m tao_skill_bank.automl.controller --run FOLDER` runs it to its end or resumes it.

However it ends, status.jsonl says how, and its exit code is that of the job.
"""

import argparse
import logging
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from tao_skill_bank.automl.plan import algorithms, study
from tao_skill_bank.automl.run.controller import Controller, Stopped
from tao_skill_bank.automl.run.lease import Lease
from tao_skill_bank.automl.run.trials import open_search
from tao_skill_bank.contracts import EXIT_INTERRUPTED
from tao_skill_bank.core.redact import mask_output
from tao_skill_bank.errors import ConflictError, Problem, TaoSkillsError
from tao_skill_bank.runs.run_directory import RunDirectory
from tao_skill_bank.runs.status_log import Diagnosis, StatusWriter


def run(run_dir: Path) -> int:
    """Run or resume the search in a run directory; return the exit code."""
    try:
        with Lease(run_dir):
            return _run(run_dir, StatusWriter(run_dir))
    except ConflictError as error:  # another controller holds the run directory: nothing is written there
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def _run(run_dir: Path, status: StatusWriter) -> int:
    controller: Controller | None = None
    try:
        trials = open_search(run_dir)
        trials.storage.bind(study.fingerprint(trials.study))
        status.write("STARTED", f"{trials.study.options.algorithm} search")
        algorithm = algorithms.build(trials.study.options.algorithm, trials.study.setup())
        controller = Controller(trials, algorithm, status)
        _watch_signals(controller)
        status.write("SUCCESS", controller.run())
    except Stopped as stopped:
        return _end_stopped(controller, status, cancels=stopped.cancels)
    except TaoSkillsError as error:
        if controller is not None:
            controller.cancel_trials()
        return _end_failed(status, error.problems, error.exit_code)
    except Exception as error:  # noqa: BLE001 - every end of a program is recorded
        traceback.print_exc()  # the trials run on: another controller takes them over
        job_id = RunDirectory(run_dir).plan_document().get("job", {}).get("id", "JOB")
        fix = f"Resume it with: tao-skills automl resume {job_id}; report it with the log's traceback."
        problem = Problem("internal_error", f"{type(error).__name__}: {error}", fix)
        return _end_failed(status, [problem], 1)
    return 0


def _end_stopped(controller: Controller | None, status: StatusWriter, *, cancels: bool) -> int:
    if cancels and controller is not None:
        controller.cancel_trials()
    cause = "A signal ended the search; every trial so far is kept."
    job_id = controller.trials.plan.job.id if controller is not None else "JOB"
    diagnosis = Diagnosis("interrupted", cause, f"Resume it with: tao-skills automl resume {job_id}")
    status.write("FAILURE", cause, diagnosis=diagnosis)
    return EXIT_INTERRUPTED


def _end_failed(status: StatusWriter, problems: Sequence[Problem], code: int) -> int:
    for problem in problems:
        sys.stderr.write(f"error: {problem.message} Fix: {problem.fix}\n")
    causes, fixes = (
        " ".join(dict.fromkeys(part)) for part in zip(*((p.message, p.fix) for p in problems), strict=True)
    )
    status.write("FAILURE", causes, diagnosis=Diagnosis(problems[0].code, causes, fixes))
    return code


def _watch_signals(controller: Controller) -> None:
    def note(number: int, _frame: FrameType | None) -> None:
        controller.stop = number

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, note)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the search that `--run` names and exit the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True, help="run directory of the search")
    run_dir: Any = parser.parse_args(arguments).run
    mask_output()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    sys.exit(run(run_dir.absolute()))
