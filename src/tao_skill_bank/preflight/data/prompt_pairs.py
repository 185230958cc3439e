"""Checks the prompts of a generation, and decodes the picture or clip of each."""

from concurrent.futures import Executor
from pathlib import Path

from tao_skill_bank.contracts import Finding, Workload
from tao_skill_bank.data import prompt_pairs
from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.preflight import locations
from tao_skill_bank.preflight.data import probing
from tao_skill_bank.preflight.findings import MAX_LISTED, blocking, info, listed, not_checked

DECODE_SECONDS = 0.5  # of a clip; a picture takes less


def check(workload: Workload, pool: Executor, timeout_seconds: float) -> list[Finding]:
    """Return the findings on a workload's prompts; none where it has no prompts."""
    source = workload.prompts
    if not source:
        return []
    if locations.is_uri(source):
        message = f"Prompts {source} are not on this machine."
        return [not_checked("prompts_remote", message, "Stage them locally to have them checked.", source)]
    found = prompt_pairs.read(Path(source))
    findings = [
        blocking(problem.code, problem.message, problem.fix, source, items=problem.got[:MAX_LISTED])
        for problem in found.problems
    ]
    if not found.prompts:
        return findings
    findings += _broken(source, found, pool, timeout_seconds)
    pictures = sum(prompt.image is not None for prompt in found.prompts)
    clips = sum(prompt.video is not None for prompt in found.prompts)
    message = f"{source} holds {len(found.prompts)} prompts, {pictures} with a picture and {clips} with a clip."
    return [*findings, info("prompts", message, source, prompts=len(found.prompts), pictures=pictures, clips=clips)]


def _broken(source: str, found: prompt_pairs.PromptSet, pool: Executor, timeout_seconds: float) -> list[Finding]:
    media = [file for prompt in found.prompts if (file := prompt.image or prompt.video)]
    try:
        outcomes = probing.probe_all(list(dict.fromkeys(media)), pool, timeout_seconds, DECODE_SECONDS)
    except MissingExtraError as error:
        problem = error.problems[0]
        message = f"Pictures and clips were not decoded. {problem.message}"
        return [not_checked("media_not_decoded", message, problem.fix, source)]
    broken = [path for path, outcome in outcomes.items() if isinstance(outcome, BlockedError)]
    if not broken:
        return []
    message = f"{source}: {len(broken)} pictures or clips cannot be decoded: {listed([path.name for path in broken])}."
    files = [path.name for path in broken[:MAX_LISTED]]
    return [blocking("prompt_media_unreadable", message, "Replace them.", source, files=files, count=len(broken))]
