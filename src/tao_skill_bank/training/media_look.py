"""The look at the headers of all media before a job's first step: what the plan left out, and what changed since.

It is the plan's look, with its cache where the job runs on the machine that planned it.
"""

import logging
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from tao_skill_bank.core.listing import MAX_LISTED
from tao_skill_bank.data import header_findings, headers
from tao_skill_bank.data.headers import MediaFile
from tao_skill_bank.errors import BlockedError, Problem
from tao_skill_bank.training.distributed import Ranks

logger = logging.getLogger(__name__)


def require_readable(files: Mapping[MediaFile, str], ranks: Ranks, *, skips: bool = False) -> None:
    """Read the headers of all media, a share on each rank; every rank calls this with the same files.

    Args:
        files: each with the name of a record that shows it.
        ranks: the ranks of the job.
        skips: records that cannot be read are skipped later, so that they are only logged here.

    Raises:
        BlockedError: files cannot be used; the first ones are named with their records, on every rank.
        MissingExtraError: PyAV or Pillow is not installed.

    """
    own = list(files)[ranks.rank :: ranks.world]
    with ThreadPoolExecutor(headers.MAX_CHILDREN if ranks.world == 1 else 1) as pool:
        found = headers.look(own, pool, headers.Budget(math.inf))
    broken = {file: error.problems[0] for file, error in header_findings.errors(found).items()}
    shares: list[dict[MediaFile, Problem]] = ranks.gather(broken)
    every = {file: problem for share in shares for file, problem in share.items()}
    num_left = sum(ranks.gather(found.num_left))
    logger.info("looked at the headers of %d media files: %d cannot be used", len(files) - num_left, len(every))
    problems = [_in_record(problem, files[file]) for file, problem in every.items()]
    if problems and not skips:
        raise BlockedError(_with_count(problems))
    for problem in problems[:MAX_LISTED]:
        logger.warning("to be skipped: %s", problem.message)


def _in_record(problem: Problem, name: str) -> Problem:
    return Problem(problem.code, f"Record {name}: {problem.message}", problem.fix, problem.path)


def _with_count(problems: list[Problem]) -> list[Problem]:
    """Return the first problems; the last of them says how many more there are."""
    *first, last = problems[:MAX_LISTED]
    rest = len(problems) - MAX_LISTED
    if rest > 0:
        message = f"{last.message.removesuffix('.')}, and {rest} more files cannot be used."
        last = Problem(last.code, message, last.fix, last.path)
    return [*first, last]
