"""Where a job may be recorded that this state folder does not know."""

import socket
from pathlib import Path

from tao_skill_bank.core import settings


def fix(folder: Path, job_id: str) -> str:
    """Return what to do about a job that has no record in `folder`: its id, another state folder, another machine."""
    for root in settings.usual_state_dirs():
        if root / "jobs" != folder and (root / "jobs" / f"{job_id}.json").is_file():
            return f"It is recorded in {root}: set TAO_STATE_DIR={root}"
    words = "List the jobs with: tao-skills jobs. A job is recorded where it was launched, on that machine and in its "
    words += f"state folder; here: host {socket.gethostname()}, {folder.parent} ({settings.state_dir_source()}). "
    words += (
        "For one of another state folder set TAO_STATE_DIR to that folder; one of another machine is queried there. "
    )
    return f"{words}Where the machine was renamed since, `status` takes the job over with --adopt."
