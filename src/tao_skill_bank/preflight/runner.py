"""Runs every check of a job and returns all findings, in the same order every time."""

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import DatasetUse, Finding, Job
from tao_skill_bank.data.annotations import media_of
from tao_skill_bank.errors import RequestError, TaoSkillsError
from tao_skill_bank.platforms.base import Platform
from tao_skill_bank.preflight import locations
from tao_skill_bank.preflight.data import (
    archive,
    arithmetic,
    clip_folders,
    datasets,
    media_files,
    overlap,
    prompt_pairs,
    sampled_media,
)
from tao_skill_bank.preflight.data.scan import Scan, plain_name, scan
from tao_skill_bank.preflight.findings import from_error
from tao_skill_bank.preflight.machine import disk, hardware
from tao_skill_bank.preflight.model import adapters, checkpoints, inspection, kept_features, token_budget
from tao_skill_bank.preflight.storage import credentials, stores

DEFAULT_SAMPLES = 8
DEFAULT_DECODE_SECONDS = 20.0
ARCHIVE_SECONDS = 120.0
NUM_WORKERS = 4


def run(job: Job, platform: Platform, *, compares_resumed: bool = True) -> list[Finding]:
    """Look at the data, the machine and the platform, and report everything that stands in the way of `job`.

    Nothing is changed but the cache of inspected models. `platform.options` may hold `preflight_samples` (media
    decoded per dataset) and `preflight_decode_seconds` (time for each of them). `compares_resumed` is false where the
    caller's own request made the checkpoint that is gone on from.

    Raises:
        RequestError: options of the platform that its engine would not understand.

    """
    options = job.platform.options
    runs_here = platform.runs_here(options)
    num_samples = _positive(options, "preflight_samples", DEFAULT_SAMPLES)
    decode_seconds = _positive(options, "preflight_decode_seconds", DEFAULT_DECODE_SECONDS)
    with ThreadPoolExecutor(NUM_WORKERS) as pool, tempfile.TemporaryDirectory(prefix="tao-preflight-") as folder:
        engine = pool.submit(_probe, platform, job)
        hub = pool.submit(credentials.check, job)
        saved = pool.submit(checkpoints.check, job, compares_resumed=compares_resumed)
        remote = stores.look(job, runs_here=runs_here)
        scans = [
            _scan(use, remote.failed.get(use.annotation_path), job.dataset_required_fields, int(num_samples))
            for use in remote.uses
        ]
        listings = [_list_archive(found, Path(folder), position) for position, found in enumerate(scans)]
        pairs = list(zip(scans, listings, strict=True))
        decoded = [sampled_media.decode(found, listing, pool, decode_seconds) for found, listing in pairs]
        files = sampled_media.decode_files(job.workload, pool, decode_seconds)
        records = [record for media in [*decoded, files] for record in media.records]
        model = pool.submit(inspection.inspect, job, token_budget.longest(job, records))
        clips = [clip_folders.scan(use, pool, decode_seconds) for use in job.workload.clips]
        prompts = prompt_pairs.check(job.workload, pool, decode_seconds)
        inspected = model.result()
        kept = kept_features.estimate(job, inspected, scans, records, runs_here=runs_here)
        found = [
            *hub.result(),
            *remote.findings,
            *saved.result(),
            *(finding for found in scans for finding in datasets.check(found)),
            *(finding for found, listing in pairs for finding in media_files.check(found, listing)),
            *(
                finding
                for found, media in zip(scans, decoded, strict=True)
                for finding in sampled_media.check(found.use.annotation_path, media, job.workload)
            ),
            *sampled_media.check("the spec", files, job.workload),
            *overlap.check(scans),
            *clip_folders.check(clips),
            *prompts,
            *arithmetic.check(job, scans),
            *arithmetic.check(job, clips, "clips"),
            *token_budget.check(job, records),
            *([inspected.failure] if inspected.failure else []),
            *adapters.check(job, inspected),
            *(hardware.check(job, inspected) if runs_here else hardware.elsewhere(platform.name)),
            *disk.check(job, inspected, kept),
            *engine.result(),
        ]
        return remote.as_the_user_knows_it(found)


def _scan(use: DatasetUse, failure: Finding | None, required_fields: tuple[str, ...], num_samples: int) -> Scan:
    return Scan(use, failure=failure) if failure else scan(use, required_fields, num_samples)


def _probe(platform: Platform, job: Job) -> list[Finding]:
    try:
        return platform.probe(job)
    except RequestError:
        raise  # its options contradict themselves, whatever the engine says
    except TaoSkillsError as error:
        return from_error(error)


def _list_archive(found: Scan, folder: Path, position: int) -> archive.Listing | None:
    path = Path(found.use.media_path)
    if found.failure or not locations.is_archive(found.use.media_path) or not path.is_file():
        return None
    samples = sampled_media.samples_of(found)
    wanted = {plain_name(name) for sample in samples for _, name in media_of(sample.record)}
    target = folder / str(position)
    target.mkdir()
    return archive.read(path, wanted, target, ARCHIVE_SECONDS)


def _positive(options: Mapping[str, Any], name: str, default: float) -> float:
    value = options.get(name, default)
    return value if isinstance(value, (int, float)) and value > 0 else default
