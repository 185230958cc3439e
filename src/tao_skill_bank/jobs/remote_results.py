"""The upload state of a job's results, and local copies of its small files when it ran on another machine's disk."""

import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tao_skill_bank.contracts import JobRecord, JobStatus, State
from tao_skill_bank.errors import ConflictError, TaoSkillsError
from tao_skill_bank.runs.run_directory import RunDirectory, verbatim_json, write_whole
from tao_skill_bank.staging import blobs, places, store_errors, stores, uploads

# What status, logs and result are read from.
SMALL_FILES = (
    "status.jsonl",
    "metrics.jsonl",
    "results.json",
    "metrics_summary.json",
    "logs/exit_code",
    "logs/job.log",
)
MIRROR_SECONDS = 5.0
MIRRORED = "logs/.mirrored"


def with_upload(record: JobRecord, now: JobStatus) -> JobStatus:
    """Return a job's status with the upload state of its results; the record keeps the job's own message."""
    uri = record.results_uri
    if uri is None:
        return now
    document = uploads.manifest_in(RunDirectory.of(record.results_dir, record.id).upload_file)
    manifest = document if document.get("job_id") == record.id else {}
    state = str(manifest.get("state", ""))
    if now.state.is_terminal and state != uploads.COMPLETE:
        state = uploads.INCOMPLETE
    message = [now.message]
    if not now.state.is_terminal and now.progress.get("state") == "SUCCESS":
        message.append(f"The rest is being uploaded to {uri}.")
    if state == uploads.COMPLETE:
        message.append(f"All {len(manifest['files'])} files are in {uri}.")
    elif state == uploads.INCOMPLETE:
        reason = manifest.get("reason") or "It did not finish."
        message.append(f"The upload to {uri} is INCOMPLETE; the results are complete in {record.results_dir}. {reason}")
        message.append(f"Retry: tao-skills data upload {record.id}")
    elif manifest.get("reason"):
        message.append(f"The upload to {uri} is currently failing: {manifest['reason']}")
    return replace(now, message=" ".join(part for part in message if part), upload=state)


def upload(record: JobRecord) -> uploads.Manifest:
    """Upload the missing results of an ended job.

    Raises:
        ConflictError: the job is still running and uploads its results itself, or its results are local or gone.
        BlockedError, BackendError: the store refuses or is unreachable; the results are unchanged.

    """
    fix = f"See it: tao-skills status {record.id}"
    if record.results_uri is None:
        message = f"The results of job {record.id} are local: {record.results_dir}."
        raise ConflictError.of("results_are_local", message, fix, path=record.id)
    if record.terminal_state is None:
        message = f"Job {record.id} is {record.state}: it uploads its results itself."
        raise ConflictError.of("job_not_ended", message, fix, path=record.id)
    if not (Path(record.results_dir) / "plan.json").is_file():
        message = f"The run directory of job {record.id} is not on this machine: {record.results_dir}."
        raise ConflictError.of("run_directory_gone", message, "Run it on the machine that ran the job.", path=record.id)
    if RunDirectory.of(record.results_dir, record.id).set_aside_id:
        message = f"Another job resumed from {record.id} and uploads the results now."
        raise ConflictError.of(
            "run_continued", message, "Upload the results of that job; find it with: tao-skills jobs", path=record.id
        )
    run = Path(record.results_dir)
    return uploads.Uploader(run, record.results_uri, record.id, record.upload_excludes).finish()


def mirror(record: JobRecord) -> None:
    """Copy the small files of a remote run directory here; files that cannot be read now are skipped."""
    run = RunDirectory.of(record.results_dir, record.id)
    if record.results_uri is None or run.set_aside_id or not _is_elsewhere(record, run):
        return
    with suppress(TaoSkillsError, OSError):
        marker = run.path / MIRRORED
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        manifest = uploads.read_manifest(record.results_uri)
        if manifest is None or manifest["job_id"] != record.id:  # of the job that this one resumes
            return
        store = stores.of(record.results_uri)
        with store_errors.explained(record.results_uri):
            wanted = {places.join(record.results_uri, name): name for name in SMALL_FILES}
            for uri, entry in store.entries(list(wanted)).items():
                target = run.path / wanted[uri]
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(blobs.fetch(store, entry), target)
        write_whole(run.upload_file, verbatim_json(manifest))


def _is_elsewhere(record: JobRecord, run: RunDirectory) -> bool:
    """Return whether a run directory is on another machine or was removed here, but may have remote results."""
    marker = run.path / MIRRORED
    if marker.is_file():
        manifest = uploads.manifest_in(run.upload_file)
        is_final = record.terminal_state is not None and manifest.get("state") == uploads.COMPLETE
        return not is_final and time.time() - marker.stat().st_mtime >= MIRROR_SECONDS
    if record.platform == "local" and record.terminal_state is None:
        return False
    return not run.status_file.is_file() and not run.upload_file.is_file()


def is_short(status: JobStatus) -> bool:
    """Return whether a job succeeded but its results are not fully uploaded."""
    return status.state is State.COMPLETE and status.upload == uploads.INCOMPLETE
