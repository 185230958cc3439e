"""Uploads a job's run directory while its trainer runs: `python -m tao_skill_bank.staging.upload RUN_DIR [--last]`.

Without --last it runs until it is stopped; with --last it uploads the rest and records whether the upload is complete.
Where the job's script was killed, it does the latter by itself once nothing writes the run directory any more.
"""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from tao_skill_bank.core.redact import mask_output
from tao_skill_bank.errors import BlockedError, ConflictError, TaoSkillsError
from tao_skill_bank.runs import plan_versions, writer_lock
from tao_skill_bank.staging.uploads import COMPLETE, Manifest, Uploader

LOOK_SECONDS = 5.0
EXIT_INCOMPLETE = 6


def uploader_of(run_dir: Path) -> Uploader:
    """Return the uploader of a run directory, by the plan in it. Raises BlockedError when its results stay local."""
    job = plan_versions.read_launched(run_dir / "plan.json").job
    if job.results_uri is None:
        message = f"The results of job {job.id} are local: {run_dir}."
        fix = "Plan with --results-dir s3://BUCKET/PATH to have them uploaded."
        raise BlockedError.of("results_are_local", message, fix, path=str(run_dir))
    return Uploader(run_dir, job.results_uri, job.id, job.upload_excludes)


def outcome(manifest: Manifest, uri: str) -> str:
    """Return one line on how an upload ended."""
    if manifest.state == COMPLETE:
        return f"All {len(manifest.files)} files are in {uri}."
    missing = f"{len(manifest.failed)} files are missing there"
    return f"The upload to {uri} is incomplete: {missing}. {manifest.reason} {manifest.fix}".rstrip()


def _is_written(run_dir: Path) -> bool:
    try:
        writer_lock.require_free(run_dir)
    except ConflictError:
        return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--last", action="store_true", help="upload the rest and exit")
    arguments = parser.parse_args()
    mask_output()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # it is meant for the trainer
    try:
        uploader = uploader_of(arguments.run_dir.absolute())
        if not arguments.last:
            signal.signal(signal.SIGTERM, lambda *_: uploader.stopped.set())
            shell = os.getppid()
            while not uploader.stopped.wait(LOOK_SECONDS):
                uploader.look()
                if os.getppid() != shell and not _is_written(arguments.run_dir):  # killed before it uploads the rest
                    break
            else:
                return
        manifest = uploader.finish()
    except TaoSkillsError as error:
        sys.stderr.write(f"error: {error.problems[0].message} Fix: {error.problems[0].fix}\n")
        sys.exit(error.exit_code)
    if manifest.state != COMPLETE:
        sys.stderr.write(f"warning: {outcome(manifest, uploader.uri)}\n")
        sys.exit(EXIT_INCOMPLETE)


if __name__ == "__main__":
    main()
