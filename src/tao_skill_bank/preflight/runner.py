"""Runs every check of a job and returns all findings, in the same order every time."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.platforms.base import Platform
from tao_skill_bank.preflight import checks, repairs
from tao_skill_bank.preflight.checks import Check
from tao_skill_bank.preflight.data import visibility
from tao_skill_bank.preflight.facts import Facts

NUM_WORKERS = 4


def run(job: Job, platform: Platform, *, compares_resumed: bool = True) -> list[Finding]:
    """Look at the data, the machine and the platform, and report everything that prevents `job` from running.

    Only the caches of model inspections and of media headers are written. `platform.options` may hold
    `preflight_samples` (media decoded per input), `preflight_decode_seconds` (time for each of them) and
    `preflight_header_seconds` (time for the headers of all media). `compares_resumed` is false where the caller's own
    request made the checkpoint that is resumed from.

    Raises:
        RequestError: options of the platform that its engine would not understand.

    """
    every = checks.found()
    with (
        tempfile.TemporaryDirectory(prefix="tao-preflight-") as folder,
        ThreadPoolExecutor(NUM_WORKERS) as probes,
        ThreadPoolExecutor(len(every)) as pool,  # a check may wait for what another one computes
    ):
        known = Facts(job, platform, compares_resumed=compares_resumed, pool=probes, scratch=Path(folder))
        running = [pool.submit(check.run, known) for check in every]
        findings = [
            finding
            for check, future in zip(every, running, strict=True)
            for finding in _conclusive(check, future.result(), known)
        ]
        return known.remote.with_uris(repairs.with_overrides(job, findings))


def _conclusive(check: Check, findings: list[Finding], known: Facts) -> list[Finding]:
    """Return findings without those that only say that what is not visible here is not here.

    The platform itself, which is asked in the room of the machine, knows more of such paths.
    """
    return findings if check.room == checks.MACHINE else visibility.conclusive(findings, known.hidden)
