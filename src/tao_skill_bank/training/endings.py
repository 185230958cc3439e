"""How a program of the training plane reports its end: problems on stderr, a diagnosis, and its exit code in a file."""

import json
import sys
import traceback
from pathlib import Path

from tao_skill_bank.core.redact import masked
from tao_skill_bank.errors import Problem, TaoSkillsError
from tao_skill_bank.runs.status_log import Diagnosis

EXIT_BUG = 1
INTERRUPTED = "interrupted"  # the code of a signal that ended a program without loss


def explain(error: BaseException) -> tuple[int, Diagnosis]:
    """Return the exit code and diagnosis of an exception, and report it on stderr; our own bug with its traceback."""
    if isinstance(error, TaoSkillsError):
        print_problems(error)
        return error.exit_code, Diagnosis.of(_joined(error))
    traceback.print_exception(error)
    lines = f"{type(error).__name__}: {error}".splitlines()
    return EXIT_BUG, Diagnosis("internal_error", lines[0], "Report it with the log's traceback.")


def print_problems(error: TaoSkillsError) -> None:
    """Print each problem with its fix on stderr."""
    for problem in error.problems:
        sys.stderr.write(f"error: {problem.message} Fix: {problem.fix}\n")


def write_exit(folder: Path, rank: int, code: int, diagnosis: Diagnosis | None) -> None:
    """Write `exit/rank_<N>.json`. Raises OSError."""
    record = {"rank": rank, "exit_code": code, "error": diagnosis.cause if diagnosis else None}
    (folder / "exit").mkdir(exist_ok=True)
    work = folder / "exit" / f".rank_{rank}"
    work.write_text(json.dumps(masked(record)), encoding="utf-8")
    work.replace(folder / "exit" / f"rank_{rank}.json")


def _joined(error: TaoSkillsError) -> Problem:
    first = error.problems[0]
    fixes = " ".join(dict.fromkeys(problem.fix for problem in error.problems))
    return Problem(first.code, str(error), fixes, path=first.path)
