"""How long a command waits for a job, and what it answers when the job has not ended by then."""

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tao_skill_bank.cli.output import command
from tao_skill_bank.errors import RequestError, StillRunningError

if TYPE_CHECKING:
    from tao_skill_bank.contracts import JobStatus

EXIT_NOT_ENDED = StillRunningError.exit_code
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help=f"Stop waiting after so many seconds; exit code {EXIT_NOT_ENDED} if a job has not ended by then.",
    ),
]


def require_timeout(seconds: float | None, job_ids: "list[str] | None" = None) -> None:
    """Raise RequestError where a timeout does not let a command wait."""
    if seconds is None or 0 < seconds < math.inf:
        return
    look = command("status", job_ids[0]) if job_ids else command("jobs")
    message = f"--timeout {seconds:g} is not a number of seconds above 0 to wait."
    fix = f"Give seconds, such as --timeout 600, or leave it out to wait for the end. To look once: {look}"
    raise RequestError.of("invalid_timeout", message, fix, path="--timeout", got=seconds, expected="> 0")


def payload(now: "JobStatus") -> dict[str, Any]:
    """Return what is known of a job that has not ended."""
    return {"job_id": now.id, "state": str(now.state), "message": now.message, "progress": now.progress}


def again(job_ids: list[str], seconds: float | None) -> str:
    """Return the command that watches jobs as long once more."""
    return command("watch", *job_ids, *([] if seconds is None else ["--timeout", f"{seconds:g}"]))
